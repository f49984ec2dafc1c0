// Health, metadata and one inference: sample [HOST:PORT] [MODEL]
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"math"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"

	"sample/inference"
)

//go:generate protoc -Iprotos --go_out=. --go-grpc_out=. --go_opt=module=sample --go-grpc_opt=module=sample --go_opt=Minferd/protos/oip.proto=sample/inference --go_opt=Minferd/protos/model_config.proto=sample/inference --go-grpc_opt=Minferd/protos/oip.proto=sample/inference --go-grpc_opt=Minferd/protos/model_config.proto=sample/inference inferd/protos/oip.proto inferd/protos/model_config.proto

const deadline = 10 * time.Second

// Bytes of one element; each one of BYTES is a 4-byte length and that many bytes.
var itemBytes = map[string]int{
	"BOOL": 1, "INT8": 1, "UINT8": 1, "INT16": 2, "UINT16": 2, "FP16": 2, "BF16": 2,
	"INT32": 4, "UINT32": 4, "FP32": 4, "INT64": 8, "UINT64": 8, "FP64": 8, "BYTES": 4,
}

func main() {
	address, model := "127.0.0.1:8001", "digits"
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	if len(os.Args) > 2 {
		model = os.Args[2]
	}
	log.SetFlags(0)
	if err := run(address, model); err != nil {
		log.Fatal(err)
	}
}

func run(address, model string) error {
	connection, err := grpc.Dial(
		address,
		grpc.WithInsecure(), // what Debian's packages have, too; newer: grpc.WithTransportCredentials
		// The default of 4 MiB is small for tensors.
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)),
	)
	if err != nil {
		return err
	}
	defer connection.Close()
	client := inference.NewGRPCInferenceServiceClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()

	live, err := client.ServerLive(ctx, &inference.ServerLiveRequest{})
	if err != nil {
		return err
	}
	ready, err := client.ServerReady(ctx, &inference.ServerReadyRequest{})
	if err != nil {
		return err
	}
	server, err := client.ServerMetadata(ctx, &inference.ServerMetadataRequest{})
	if err != nil {
		return err
	}
	fmt.Printf("server %s %s live=%t ready=%t\n", server.Name, server.Version, live.Live, ready.Ready)

	metadata, err := client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: model})
	if err != nil {
		return err
	}
	fmt.Printf("model %s versions=%s\n", metadata.Name, strings.Join(metadata.Versions, ","))

	answer, err := client.ModelInfer(ctx, requestFor(metadata))
	if err != nil {
		return err
	}
	for at, output := range answer.Outputs {
		shown := elements(output.Datatype, answer.RawOutputContents[at])
		fmt.Printf("output %s %s %s %s\n", output.Name, output.Datatype, text(output.Shape), shown)
	}
	return nil
}

// requestFor makes a request of one row that fits the model.
func requestFor(metadata *inference.ModelMetadataResponse) *inference.ModelInferRequest {
	request := &inference.ModelInferRequest{ModelName: metadata.Name}
	for _, each := range metadata.Inputs {
		fmt.Printf("input %s %s %s\n", each.Name, each.Datatype, text(each.Shape))
		shape, count := make([]int64, len(each.Shape)), 1
		for at, size := range each.Shape {
			if size < 0 { // a dimension of any size
				size = 1
			}
			shape[at] = size
			count *= int(size)
		}
		request.Inputs = append(request.Inputs, &inference.ModelInferRequest_InferInputTensor{
			Name: each.Name, Datatype: each.Datatype, Shape: shape,
		})
		request.RawInputContents = append(request.RawInputContents, contents(each.Datatype, count))
	}
	return request
}

// contents are raw: little-endian and row-major. Floats count 0, 0.1, 0.2, ...; integers are 1;
// everything else is zero.
func contents(datatype string, count int) []byte {
	size, known := itemBytes[datatype]
	if !known {
		size = 4
	}
	raw := make([]byte, count*size)
	for at := 0; at < count; at++ {
		switch datatype {
		case "FP32":
			binary.LittleEndian.PutUint32(raw[4*at:], math.Float32bits(float32(at)/10))
		case "INT64":
			binary.LittleEndian.PutUint64(raw[8*at:], 1)
		}
	}
	return raw
}

func elements(datatype string, raw []byte) string {
	var shown []string
	switch datatype {
	case "FP32":
		for at := 0; at < len(raw); at += 4 {
			value := math.Float32frombits(binary.LittleEndian.Uint32(raw[at:]))
			shown = append(shown, fmt.Sprintf("%g", value))
		}
	case "INT64":
		for at := 0; at < len(raw); at += 8 {
			shown = append(shown, fmt.Sprint(int64(binary.LittleEndian.Uint64(raw[at:]))))
		}
	default:
		return fmt.Sprintf("%d bytes", len(raw))
	}
	return strings.Join(shown, " ")
}

func text(shape []int64) string {
	sizes := make([]string, len(shape))
	for at, size := range shape {
		sizes[at] = fmt.Sprint(size)
	}
	return "[" + strings.Join(sizes, ",") + "]"
}
