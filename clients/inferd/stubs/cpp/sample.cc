// Health, metadata and one inference: sample [HOST:PORT] [MODEL]
#include <chrono>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

#include <grpcpp/grpcpp.h>

#include "inferd/protos/oip.grpc.pb.h"

namespace {

using inference::GRPCInferenceService;

constexpr auto kDeadline = std::chrono::seconds(10);

// Bytes of one element; each one of BYTES is a 4-byte length and that many bytes.
const std::map<std::string, std::size_t> kItemBytes = {
    {"BOOL", 1}, {"INT8", 1},   {"UINT8", 1}, {"INT16", 2}, {"UINT16", 2},
    {"FP16", 2}, {"BF16", 2},   {"INT32", 4}, {"UINT32", 4}, {"FP32", 4},
    {"INT64", 8}, {"UINT64", 8}, {"FP64", 8},  {"BYTES", 4},
};

// Calls one RPC and returns its answer; throws for every status other than OK.
template <typename Request, typename Response>
Response Call(GRPCInferenceService::Stub& stub,
              grpc::Status (GRPCInferenceService::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                 Response*),
              const Request& request) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) {
    throw std::runtime_error("status " + std::to_string(status.error_code()) + ": " +
                             status.error_message());
  }
  return response;
}

template <typename Shape>
std::string Text(const Shape& shape) {
  std::string text = "[";
  for (const auto size : shape) {
    text += (text.size() > 1 ? "," : "") + std::to_string(size);
  }
  return text + "]";
}

// Raw contents are little-endian (as this machine is) and row-major. Floats count 0, 0.1, 0.2, ...;
// integers are 1; everything else is zero.
std::string Contents(const std::string& datatype, std::size_t count) {
  const auto known = kItemBytes.find(datatype);
  const std::size_t size = known == kItemBytes.end() ? sizeof(float) : known->second;
  std::string raw(count * size, '\0');
  for (std::size_t at = 0; at < count; ++at) {
    if (datatype == "FP32") {
      const float value = static_cast<float>(at) / 10;
      std::memcpy(&raw[at * size], &value, size);
    } else if (datatype == "INT64") {
      const std::int64_t value = 1;
      std::memcpy(&raw[at * size], &value, size);
    }
  }
  return raw;
}

template <typename Element>
void PrintAs(const std::string& raw) {
  for (std::size_t at = 0; at < raw.size(); at += sizeof(Element)) {
    Element value;
    std::memcpy(&value, &raw[at], sizeof(Element));
    std::cout << ' ' << value;
  }
}

void Print(const inference::ModelInferResponse::InferOutputTensor& output, const std::string& raw) {
  std::cout << "output " << output.name() << ' ' << output.datatype() << ' ' << Text(output.shape());
  if (output.datatype() == "FP32") {
    PrintAs<float>(raw);
  } else if (output.datatype() == "INT64") {
    PrintAs<std::int64_t>(raw);
  } else {
    std::cout << ' ' << raw.size() << " bytes";
  }
  std::cout << '\n';
}

void Run(const std::string& address, const std::string& model) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);  // the default of 4 MiB is small for tensors
  const auto stub = GRPCInferenceService::NewStub(
      grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
  using Stub = GRPCInferenceService::Stub;

  const bool live = Call(*stub, &Stub::ServerLive, inference::ServerLiveRequest()).live();
  const bool ready = Call(*stub, &Stub::ServerReady, inference::ServerReadyRequest()).ready();
  const auto server = Call(*stub, &Stub::ServerMetadata, inference::ServerMetadataRequest());
  std::cout << std::boolalpha << "server " << server.name() << ' ' << server.version()
            << " live=" << live << " ready=" << ready << '\n';

  inference::ModelMetadataRequest question;
  question.set_name(model);
  const auto metadata = Call(*stub, &Stub::ModelMetadata, question);
  std::cout << "model " << metadata.name() << " versions=";
  for (int at = 0; at < metadata.versions_size(); ++at) {
    std::cout << (at > 0 ? "," : "") << metadata.versions(at);
  }
  std::cout << '\n';

  inference::ModelInferRequest request;
  request.set_model_name(model);
  for (const auto& each : metadata.inputs()) {
    std::cout << "input " << each.name() << ' ' << each.datatype() << ' ' << Text(each.shape()) << '\n';
    auto* input = request.add_inputs();
    input->set_name(each.name());
    input->set_datatype(each.datatype());
    std::size_t count = 1;
    for (const auto size : each.shape()) {
      input->add_shape(size < 0 ? 1 : size);  // -1 is a dimension of any size; one row, then
      count *= static_cast<std::size_t>(size < 0 ? 1 : size);
    }
    request.add_raw_input_contents(Contents(each.datatype(), count));
  }
  const auto answer = Call(*stub, &Stub::ModelInfer, request);
  for (int at = 0; at < answer.outputs_size(); ++at) {
    Print(answer.outputs(at), answer.raw_output_contents(at));
  }
}

}  // namespace

int main(int count, char** arguments) {
  try {
    Run(count > 1 ? arguments[1] : "127.0.0.1:8001", count > 2 ? arguments[2] : "digits");
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
