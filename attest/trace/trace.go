// Package trace sends OpenTelemetry traces of requests, if the environment says where to: by OTEL_EXPORTER_OTLP_ENDPOINT
// or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, with the other variables of OTLP and of the SDK as OpenTelemetry specifies them.
// The protocol is http/protobuf. A receiver that is not there, or slow, delays nothing: spans are dropped.
//
// A span has the method, the route and the status of a request, and no word of a machine. What clients say of a trace
// that they are part of is not believed.
package trace

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans. A nil one makes none.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

const (
	protocolHTTP = "http/protobuf"
	service      = "attestd"
)

// New makes the tracer that the environment asks for, nil if it asks for none.
func New(ctx context.Context, version string) (*Tracer, error) {
	if !asked() {
		return nil, nil
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := os.Getenv(name); p != "" && p != protocolHTTP {
			return nil, fmt.Errorf("starting traces: %s is %q, and only %s is spoken here", name, p, protocolHTTP)
		}
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("starting traces: %w", err)
	}
	// What the environment says of the resource comes last and counts.
	r, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", service), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("starting traces: %w", err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(r))
	return &Tracer{provider, provider.Tracer("github.com/ember-os/ember/attest")}, nil
}

func asked() bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") || os.Getenv("OTEL_TRACES_EXPORTER") == "none" {
		return false
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// Handler makes a span of every request to h.
func (t *Tracer) Handler(h http.Handler) http.Handler {
	if t == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, span := t.tracer.Start(r.Context(), r.Method, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(attribute.String("http.request.method", method(r.Method))))
		s := &status{ResponseWriter: w, code: http.StatusOK}
		defer func() {
			span.SetAttributes(attribute.Int("http.response.status_code", s.code))
			if s.code >= 500 {
				span.SetStatus(codes.Error, "")
			}
			span.End()
		}()
		r = r.WithContext(ctx)
		h.ServeHTTP(s, r)
		if r.Pattern != "" { // the mux has found it
			span.SetName(r.Pattern)
			_, route, _ := strings.Cut(r.Pattern, " ")
			span.SetAttributes(attribute.String("http.route", route))
		}
	})
}

// method is one of few: a client could choose any word.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		return m
	}
	return "_OTHER"
}

// Close sends what is left, until ctx ends.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// status keeps the status of an answer.
type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController, which sets deadlines.
func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }
