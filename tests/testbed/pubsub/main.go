// The Pub/Sub server of the tests: topics, subscriptions and messages are those
// of Google's pstest; faults, streams with flow control and REST are added here.
//
// It binds two ports of the loopback interface, prints their addresses as one
// line of JSON, and ends when its standard input is closed.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pubsub-server:", err)
		os.Exit(1)
	}
}

func run() error {
	gate := newGate()
	broker := newBroker(pstest.NewServer())

	served := grpc.NewServer(
		grpc.UnaryInterceptor(gate.unary),
		grpc.StreamInterceptor(gate.stream),
		// Clients may ping as often as they like.
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Millisecond, PermitWithoutStream: true}),
	)
	pb.RegisterPublisherServer(served, &publisher{PublisherServer: &broker.pstest.GServer, broker: broker})
	pb.RegisterSubscriberServer(served, &subscriber{SubscriberServer: &broker.pstest.GServer, broker: broker})

	front, err := newFront()
	if err != nil {
		return err
	}
	go served.Serve(front.grpc)
	go http.Serve(front.rest, rest(gate, broker))

	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go http.Serve(admin, newAdmin(gate, broker, front))

	addresses := map[string]string{"address": front.address, "admin": admin.Addr().String()}
	if err := json.NewEncoder(os.Stdout).Encode(addresses); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
