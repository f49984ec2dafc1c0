// Health, metadata and one inference: node sample.js [HOST:PORT] [MODEL]
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import grpc from '@grpc/grpc-js';
import protoLoader from '@grpc/proto-loader';

const [address = '127.0.0.1:8001', model = 'digits'] = process.argv.slice(2);
const DEADLINE_MS = 10_000;
const ITEM_BYTES = {
  BOOL: 1, INT8: 1, UINT8: 1, INT16: 2, UINT16: 2, FP16: 2, BF16: 2,
  INT32: 4, UINT32: 4, FP32: 4, INT64: 8, UINT64: 8, FP64: 8, BYTES: 4,
};

const definition = protoLoader.loadSync('inferd/protos/oip.proto', {
  includeDirs: [fileURLToPath(new URL('protos', import.meta.url))],
  keepCase: true, // field names as in the .proto file
  longs: Number,
  defaults: true,
});
const { GRPCInferenceService } = grpc.loadPackageDefinition(definition).inference;
const client = new GRPCInferenceService(address, grpc.credentials.createInsecure(), {
  'grpc.max_receive_message_length': -1, // the default of 4 MiB is small for tensors
});

// A call of one RPC by its name; rejects with an error that has the status in `code`.
function call(method, request) {
  const deadline = new Date(Date.now() + DEADLINE_MS);
  return promisify(client[method].bind(client))(request, { deadline });
}

// Raw contents are little-endian and row-major. Floats count 0, 0.1, 0.2, ...; integers are 1;
// everything else is zero (text: empty, each element is a 4-byte length and that many bytes).
function contents(datatype, count) {
  const raw = Buffer.alloc(count * (ITEM_BYTES[datatype] ?? ITEM_BYTES.FP32));
  for (let at = 0; at < count; at++) {
    if (datatype === 'FP32') raw.writeFloatLE(at / 10, 4 * at);
    if (datatype === 'INT64') raw.writeBigInt64LE(1n, 8 * at);
  }
  return raw;
}

function elements(datatype, raw) {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const read = {
    FP32: (at) => view.getFloat32(4 * at, true).toPrecision(6),
    INT64: (at) => view.getBigInt64(8 * at, true).toString(),
  }[datatype];
  if (read === undefined) return `${raw.length} bytes`;
  return Array.from({ length: raw.length / ITEM_BYTES[datatype] }, (_, at) => read(at)).join(' ');
}

async function main() {
  const { live } = await call('ServerLive', {});
  const { ready } = await call('ServerReady', {});
  const server = await call('ServerMetadata', {});
  console.log(`server ${server.name} ${server.version} live=${live} ready=${ready}`);

  const metadata = await call('ModelMetadata', { name: model });
  console.log(`model ${metadata.name} versions=${metadata.versions.join(',')}`);

  const inputs = metadata.inputs.map(({ name, datatype, shape }) => {
    console.log(`input ${name} ${datatype} [${shape.join(',')}]`);
    // -1 is a dimension of any size; one row, then.
    return { name, datatype, shape: shape.map((size) => (size < 0 ? 1 : size)) };
  });
  const answer = await call('ModelInfer', {
    model_name: model,
    inputs,
    raw_input_contents: inputs.map(({ datatype, shape }) =>
      contents(datatype, shape.reduce((count, size) => count * size, 1))),
  });
  answer.outputs.forEach(({ name, datatype, shape }, at) => {
    const shown = elements(datatype, answer.raw_output_contents[at]);
    console.log(`output ${name} ${datatype} [${shape.join(',')}] ${shown}`);
  });
}

main()
  .catch((error) => {
    console.error(`${grpc.status[error.code] ?? 'error'}: ${error.details ?? error.message}`);
    process.exitCode = 1;
  })
  .finally(() => client.close());
