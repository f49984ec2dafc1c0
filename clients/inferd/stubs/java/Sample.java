// Health, metadata and one inference: Sample [HOST:PORT] [MODEL]
import com.google.protobuf.ByteString;
import inference.GRPCInferenceServiceGrpc;
import inference.Oip;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.StatusRuntimeException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Map;
import java.util.StringJoiner;
import java.util.concurrent.TimeUnit;

public final class Sample {
  private static final long DEADLINE_SECONDS = 10;

  /** Bytes of one element; each one of BYTES is a 4-byte length and that many bytes. */
  private static final Map<String, Integer> ITEM_BYTES =
      Map.ofEntries(
          Map.entry("BOOL", 1), Map.entry("INT8", 1), Map.entry("UINT8", 1),
          Map.entry("INT16", 2), Map.entry("UINT16", 2), Map.entry("FP16", 2),
          Map.entry("BF16", 2), Map.entry("INT32", 4), Map.entry("UINT32", 4),
          Map.entry("FP32", 4), Map.entry("INT64", 8), Map.entry("UINT64", 8),
          Map.entry("FP64", 8), Map.entry("BYTES", 4));

  private final GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub stub;

  private Sample(ManagedChannel channel) {
    stub = GRPCInferenceServiceGrpc.newBlockingStub(channel);
  }

  public static void main(String[] arguments) {
    String address = arguments.length > 0 ? arguments[0] : "127.0.0.1:8001";
    String model = arguments.length > 1 ? arguments[1] : "digits";
    ManagedChannel channel =
        ManagedChannelBuilder.forTarget(address)
            .usePlaintext()
            .maxInboundMessageSize(Integer.MAX_VALUE) // the default of 4 MiB is small for tensors
            .build();
    try {
      new Sample(channel).run(model);
    } catch (StatusRuntimeException error) {
      System.err.println(error.getStatus().getCode() + ": " + error.getStatus().getDescription());
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  /** Each call has a deadline of its own. */
  private GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub call() {
    return stub.withDeadlineAfter(DEADLINE_SECONDS, TimeUnit.SECONDS);
  }

  private void run(String model) {
    boolean live = call().serverLive(Oip.ServerLiveRequest.getDefaultInstance()).getLive();
    boolean ready = call().serverReady(Oip.ServerReadyRequest.getDefaultInstance()).getReady();
    Oip.ServerMetadataResponse server =
        call().serverMetadata(Oip.ServerMetadataRequest.getDefaultInstance());
    System.out.printf(
        "server %s %s live=%b ready=%b%n", server.getName(), server.getVersion(), live, ready);

    Oip.ModelMetadataResponse metadata =
        call().modelMetadata(Oip.ModelMetadataRequest.newBuilder().setName(model).build());
    System.out.printf(
        "model %s versions=%s%n", metadata.getName(), String.join(",", metadata.getVersionsList()));

    Oip.ModelInferRequest.Builder request = Oip.ModelInferRequest.newBuilder().setModelName(model);
    for (Oip.ModelMetadataResponse.TensorMetadata each : metadata.getInputsList()) {
      System.out.printf(
          "input %s %s %s%n", each.getName(), each.getDatatype(), text(each.getShapeList()));
      Oip.ModelInferRequest.InferInputTensor.Builder input =
          request.addInputsBuilder().setName(each.getName()).setDatatype(each.getDatatype());
      int count = 1;
      for (long size : each.getShapeList()) {
        long asked = size < 0 ? 1 : size; // -1 is a dimension of any size; one row, then
        input.addShape(asked);
        count *= (int) asked;
      }
      request.addRawInputContents(contents(each.getDatatype(), count));
    }
    Oip.ModelInferResponse answer = call().modelInfer(request.build());
    for (int at = 0; at < answer.getOutputsCount(); at++) {
      Oip.ModelInferResponse.InferOutputTensor output = answer.getOutputs(at);
      String shown = elements(output.getDatatype(), answer.getRawOutputContents(at));
      System.out.printf(
          "output %s %s %s %s%n",
          output.getName(), output.getDatatype(), text(output.getShapeList()), shown);
    }
  }

  /**
   * Raw contents are little-endian and row-major. Floats count 0, 0.1, 0.2, ...; integers are 1;
   * everything else is zero.
   */
  private static ByteString contents(String datatype, int count) {
    ByteBuffer raw =
        ByteBuffer.allocate(count * ITEM_BYTES.getOrDefault(datatype, 4))
            .order(ByteOrder.LITTLE_ENDIAN);
    for (int at = 0; at < count; at++) {
      if (datatype.equals("FP32")) {
        raw.putFloat(at / 10.0f);
      } else if (datatype.equals("INT64")) {
        raw.putLong(1);
      }
    }
    raw.rewind();
    return ByteString.copyFrom(raw);
  }

  private static String elements(String datatype, ByteString contents) {
    ByteBuffer raw = contents.asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
    StringJoiner shown = new StringJoiner(" ");
    while (datatype.equals("FP32") && raw.hasRemaining()) {
      shown.add(Float.toString(raw.getFloat()));
    }
    while (datatype.equals("INT64") && raw.hasRemaining()) {
      shown.add(Long.toString(raw.getLong()));
    }
    return raw.hasRemaining() ? contents.size() + " bytes" : shown.toString();
  }

  private static String text(List<Long> shape) {
    StringJoiner sizes = new StringJoiner(",", "[", "]");
    shape.forEach(size -> sizes.add(size.toString()));
    return sizes.toString();
  }
}
