#!/bin/sh
# Generates the messages and compiles the sample with Debian's packages; see README.md.
set -eu
cd "$(dirname "$0")"
rm -rf build
mkdir -p build/generated build/classes

protoc -Iprotos \
  --java_out=build/generated \
  --plugin=protoc-gen-grpc-java="$(command -v grpc_java_plugin)" --grpc-java_out=build/generated \
  inferd/protos/oip.proto inferd/protos/model_config.proto

jars=/usr/share/java
classpath=build/classes
for name in grpc-api grpc-context grpc-core grpc-netty grpc-protobuf grpc-protobuf-lite grpc-stub \
  protobuf guava perfmark-api perfmark-impl geronimo-annotation-1.3-spec \
  netty-buffer netty-codec netty-codec-http netty-codec-http2 netty-common netty-handler \
  netty-resolver netty-transport netty-transport-native-unix-common; do
  classpath="$classpath:$jars/$name.jar"
done

javac -nowarn -d build/classes -cp "$classpath" \
  $(find build/generated -name '*.java') Sample.java
echo "$classpath" > build/classpath
