#!/usr/bin/env bash
# Installs Debian's packages with which the samples of `inferd stubs` are built and tested; run it as root.
set -euo pipefail

cpp=(g++ cmake pkg-config libgrpc++-dev protobuf-compiler protobuf-compiler-grpc)
java=(default-jdk-headless protobuf-compiler-grpc-java-plugin libgrpc-java libnetty-java libperfmark-java
  libgeronimo-annotation-1.3-spec-java)
go=(golang-go protoc-gen-go protoc-gen-go-grpc golang-google-grpc-dev golang-google-protobuf-dev
  golang-github-golang-protobuf-1-5-dev)
node=(nodejs)
command -v npm > /dev/null || node+=(npm)

apt-get update
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
  "${cpp[@]}" "${java[@]}" "${go[@]}" "${node[@]}"
