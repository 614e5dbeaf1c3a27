package main

import (
	"encoding/json"
	"net/http"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

// The REST API, as far as the tests need it: GetSubscription.
func rest(gate *gate, broker *broker) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/projects/{project}/subscriptions/{subscription}", func(w http.ResponseWriter, r *http.Request) {
		if err := gate.pass(r.Context(), "GetSubscription", r.Header.Get("Authorization")); err != nil {
			writeError(w, err)
			return
		}
		name := "projects/" + r.PathValue("project") + "/subscriptions/" + r.PathValue("subscription")
		found, err := broker.pstest.GServer.GetSubscription(r.Context(), &pb.GetSubscriptionRequest{Subscription: name})
		if err != nil {
			writeError(w, err)
			return
		}
		answer, err := protojson.Marshal(found)
		if err != nil {
			writeError(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeError(w, status.Errorf(codes.Unimplemented, "%s %s is not served here", r.Method, r.URL.Path))
	})
	return mux
}

// Answers with an error as Google's REST APIs do.
func writeError(w http.ResponseWriter, err error) {
	failed := status.Convert(err)
	httpStatus := httpStatusOf(failed.Code())
	answer := map[string]any{"error": map[string]any{
		"code":    httpStatus,
		"message": failed.Message(),
		"status":  code.Code(failed.Code()).String(),
	}}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(httpStatus)
	json.NewEncoder(w).Encode(answer)
}

// As google/rpc/code.proto says.
func httpStatusOf(code codes.Code) int {
	switch code {
	case codes.Canceled:
		return 499
	case codes.InvalidArgument, codes.FailedPrecondition, codes.OutOfRange:
		return http.StatusBadRequest
	case codes.Unauthenticated:
		return http.StatusUnauthorized
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.NotFound:
		return http.StatusNotFound
	case codes.AlreadyExists, codes.Aborted:
		return http.StatusConflict
	case codes.ResourceExhausted:
		return http.StatusTooManyRequests
	case codes.Unimplemented:
		return http.StatusNotImplemented
	case codes.Unavailable:
		return http.StatusServiceUnavailable
	case codes.DeadlineExceeded:
		return http.StatusGatewayTimeout
	default:
		return http.StatusInternalServerError
	}
}
