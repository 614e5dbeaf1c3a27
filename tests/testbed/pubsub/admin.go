package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
)

// pstest drops a message ten minutes after its publishing, by its own clock.
const furthest = 500 * time.Second

// The hands of the tests: HTTP with JSON. An error is answered as REST does.
func newAdmin(gate *gate, broker *broker, front *front) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, serve func(r *http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := serve(r)
			if err != nil {
				writeError(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(answer)
		})
	}
	done := struct{}{}
	server := &broker.pstest.GServer

	handle("POST /topics", func(r *http.Request) (any, error) {
		request, err := read[struct{ Name string }](r)
		if err != nil {
			return nil, err
		}
		_, err = server.CreateTopic(r.Context(), &pb.Topic{Name: request.Name})
		return done, err
	})
	handle("POST /subscriptions", func(r *http.Request) (any, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		subscription := &pb.Subscription{}
		if err := protojson.Unmarshal(body, subscription); err != nil {
			return nil, status.Error(codes.InvalidArgument, err.Error())
		}
		_, err = server.CreateSubscription(r.Context(), subscription)
		return done, err
	})
	handle("DELETE /subscriptions", func(r *http.Request) (any, error) {
		request, err := read[struct{ Name string }](r)
		if err != nil {
			return nil, err
		}
		_, err = server.DeleteSubscription(r.Context(), &pb.DeleteSubscriptionRequest{Subscription: request.Name})
		return done, err
	})
	handle("POST /publish", func(r *http.Request) (any, error) {
		request, err := read[struct {
			Topic    string
			Messages []struct {
				Data       []byte
				Attributes map[string]string
			}
		}](r)
		if err != nil {
			return nil, err
		}
		publish := &pb.PublishRequest{Topic: request.Topic}
		for _, message := range request.Messages {
			publish.Messages = append(publish.Messages, &pb.PubsubMessage{Data: message.Data, Attributes: message.Attributes})
		}
		response, err := broker.publish(r.Context(), publish)
		return map[string]any{"messageIds": response.GetMessageIds()}, err
	})
	handle("GET /messages", func(r *http.Request) (any, error) {
		return broker.fates(r.URL.Query().Get("topic"), r.URL.Query().Get("subscription")), nil
	})
	handle("DELETE /messages", func(r *http.Request) (any, error) {
		broker.clearMessages()
		return done, nil
	})
	handle("GET /calls", func(r *http.Request) (any, error) {
		calls, authorization := gate.seen()
		open, unacknowledged := broker.openStreams()
		answer := map[string]any{"open_streams": open, "max_unacknowledged": unacknowledged, "authorization": authorization}
		for method, count := range calls {
			answer[method] = count
		}
		return answer, nil
	})
	handle("POST /faults", func(r *http.Request) (any, error) {
		request, err := read[struct {
			Method, Code, Message string
			DelayMS               int64 `json:"delay_ms"`
		}](r)
		if err != nil {
			return nil, err
		}
		set := &fault{hang: request.Code == "HANG", delay: time.Duration(request.DelayMS) * time.Millisecond}
		if request.Code != "" && !set.hang {
			if set.err, err = statusOf(request.Code, request.Message); err != nil {
				return nil, err
			}
		}
		gate.setFault(request.Method, set)
		return done, nil
	})
	handle("DELETE /faults", func(r *http.Request) (any, error) {
		gate.clearFaults()
		return done, nil
	})
	handle("POST /cut", func(r *http.Request) (any, error) {
		request, err := read[struct{ Code, Message string }](r)
		if err != nil {
			return nil, err
		}
		end, err := statusOf(request.Code, request.Message)
		if err == nil {
			broker.cut(end)
		}
		return done, err
	})
	handle("POST /stop", func(r *http.Request) (any, error) {
		front.stop()
		return done, nil
	})
	handle("POST /start", func(r *http.Request) (any, error) { return done, front.start() })
	handle("POST /token", func(r *http.Request) (any, error) {
		request, err := read[struct{ Required string }](r)
		if err == nil {
			gate.require(request.Required)
		}
		return done, err
	})
	handle("POST /clock", func(r *http.Request) (any, error) {
		request, err := read[struct {
			AdvanceSeconds int64 `json:"advance_seconds"`
		}](r)
		if err != nil {
			return nil, err
		}
		advance := time.Duration(request.AdvanceSeconds) * time.Second
		if advance < 0 || advance > furthest {
			return nil, status.Errorf(codes.InvalidArgument, "advance_seconds is %d and not from 0 to %.0f: pstest drops messages that are older than ten minutes", request.AdvanceSeconds, furthest.Seconds())
		}
		broker.ahead.Add(int64(advance))
		return done, nil
	})
	return mux
}

func read[T any](r *http.Request) (request T, err error) {
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		return request, status.Errorf(codes.InvalidArgument, "%s %s: %v", r.Method, r.URL.Path, err)
	}
	return request, nil
}

// The error of a code by its name; nil for OK.
func statusOf(name, message string) (error, error) {
	var code codes.Code
	if err := code.UnmarshalJSON([]byte(fmt.Sprintf("%q", name))); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "%q is not a status code: use a name such as UNAVAILABLE", name)
	}
	return status.Error(code, message), nil
}
