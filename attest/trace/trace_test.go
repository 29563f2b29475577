package trace_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/ember-os/ember/attest/trace"
)

// receiver takes spans by OTLP.
func receiver(t *testing.T) (address string, got chan *collector.ExportTraceServiceRequest) {
	t.Helper()
	got = make(chan *collector.ExportTraceServiceRequest, 9)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		request := new(collector.ExportTraceServiceRequest)
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(b, request) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		got <- request
	}))
	t.Cleanup(s.Close)
	return s.URL, got
}

func TestTraces(t *testing.T) {
	address, got := receiver(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=lab")
	tracer, err := trace.New(t.Context(), "1.2.3")
	if err != nil || tracer == nil {
		t.Fatalf("%v, %v", tracer, err)
	}
	mux := http.NewServeMux()
	deadline := make(chan error, 1)
	mux.HandleFunc("POST /v1/things/{name}", func(w http.ResponseWriter, r *http.Request) {
		deadline <- http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute))
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	s := httptest.NewServer(tracer.Handler(mux))
	defer s.Close()
	request, _ := http.NewRequest(http.MethodPost, s.URL+"/v1/things/secret-name", nil)
	const parent = "4bf92f3577b34da6a3ce929d0e0e4736"
	request.Header.Set("traceparent", "00-"+parent+"-00f067aa0ba902b7-01")
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := <-deadline; err != nil {
		t.Errorf("a handler can set no deadline: %v", err)
	}
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	spans := (<-got).ResourceSpans
	var resource []string
	for _, a := range spans[0].Resource.Attributes {
		resource = append(resource, a.Key+"="+a.Value.GetStringValue())
	}
	for _, want := range []string{"service.name=attestd", "service.version=1.2.3", "deployment.environment=lab"} {
		if !slices.Contains(resource, want) {
			t.Errorf("the resource is %v, without %s", resource, want)
		}
	}
	span := spans[0].ScopeSpans[0].Spans[0]
	if span.Name != "POST /v1/things/{name}" || len(span.ParentSpanId) != 0 || span.Status.GetCode() != 2 {
		t.Errorf("span %v", span)
	}
	status := int64(0)
	for _, a := range span.Attributes {
		if a.Key == "http.response.status_code" {
			status = a.Value.GetIntValue()
		}
	}
	if status != 503 {
		t.Errorf("attributes %v", span.Attributes)
	}
}

func TestNotAsked(t *testing.T) {
	for name, env := range map[string][2]string{
		"nothing": {"OTEL_SERVICE_NAME", "x"}, "disabled": {"OTEL_SDK_DISABLED", "true"}, "no exporter": {"OTEL_TRACES_EXPORTER", "none"},
	} {
		t.Run(name, func(t *testing.T) {
			if name != "nothing" {
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			}
			t.Setenv(env[0], env[1])
			tracer, err := trace.New(t.Context(), "1")
			if tracer != nil || err != nil {
				t.Fatalf("%v, %v", tracer, err)
			}
			h := http.NotFoundHandler()
			w := httptest.NewRecorder()
			tracer.Handler(h).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
			if w.Code != 404 || tracer.Close(t.Context()) != nil {
				t.Errorf("status %d", w.Code)
			}
		})
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	if _, err := trace.New(t.Context(), "1"); err == nil {
		t.Error("a protocol that is not spoken is taken")
	}
}
