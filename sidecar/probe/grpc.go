package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

const (
	healthCheck = "/grpc.health.v1.Health/Check"
	grpcFrame   = 5 // one byte of flags, four of length
	maxGRPCBody = 4 << 10

	fieldService = 1 // of HealthCheckRequest
	fieldStatus  = 1 // of HealthCheckResponse
	serving      = 1
)

// grpc asks the health service, version 1, over HTTP/2 without TLS. One call with one
// short message each way does not need the gRPC library.
func (p *prober) grpc(ctx context.Context, probe *GRPC) error {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		DialContext: p.dialPort, DisableKeepAlives: true, DisableCompression: true, Protocols: protocols,
		MaxResponseHeaderBytes: maxResponseHeader,
	}
	defer transport.CloseIdleConnections()
	address := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(probe.Port)))
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address+healthCheck, bytes.NewReader(healthRequest(probe.Service)))
	if err != nil {
		return err
	}
	request.Header = http.Header{
		"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "User-Agent": {userAgent},
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxGRPCBody+1))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxGRPCBody {
		return fmt.Errorf("%w: the answer is too long", errNoSuccess)
	}
	if response.StatusCode != http.StatusOK || !strings.HasPrefix(response.Header.Get("Content-Type"), "application/grpc") {
		return fmt.Errorf("%w: status %d, and not of gRPC", errNoSuccess, response.StatusCode)
	}
	// An answer without a message carries its trailers as headers.
	status := response.Trailer.Get("Grpc-Status")
	if status == "" {
		status = response.Header.Get("Grpc-Status")
	}
	if code, err := strconv.ParseUint(status, 10, 8); err != nil || code != 0 {
		return fmt.Errorf("%w: gRPC status %d", errNoSuccess, code)
	}
	return isServing(body)
}

// healthRequest is one frame with a HealthCheckRequest.
func healthRequest(service string) []byte {
	frame := make([]byte, grpcFrame)
	if service != "" {
		frame = protowire.AppendTag(frame, fieldService, protowire.BytesType)
		frame = protowire.AppendString(frame, service)
	}
	binary.BigEndian.PutUint32(frame[1:], uint32(len(frame)-grpcFrame)) //nolint:gosec // Validate bounds the service
	return frame
}

// isServing reads one frame with a HealthCheckResponse.
func isServing(body []byte) error {
	if len(body) < grpcFrame || body[0] != 0 || int64(binary.BigEndian.Uint32(body[1:])) != int64(len(body)-grpcFrame) {
		return fmt.Errorf("%w: the answer is not one plain gRPC message", errNoSuccess)
	}
	var status uint64
	for message := body[grpcFrame:]; len(message) > 0; {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errors.Join(errNoSuccess, protowire.ParseError(n))
		}
		message = message[n:]
		if number == fieldStatus && kind == protowire.VarintType {
			status, n = protowire.ConsumeVarint(message)
		} else {
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return errors.Join(errNoSuccess, protowire.ParseError(n))
		}
		message = message[n:]
	}
	if status != serving {
		return fmt.Errorf("%w: health status %d", errNoSuccess, status)
	}
	return nil
}
