package main

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// The messages of pstest, and what has become of them.
//
// pstest counts the deliveries of a message over all its subscriptions, and a
// message that goes to a dead-letter topic as acknowledged. So this keeps a
// record of its own for each subscription.
type broker struct {
	pstest *pstest.Server
	// How far pstest's clock is ahead, in nanoseconds.
	ahead atomic.Int64

	// Held while pstest is called, too: a record never lags behind it.
	mu        sync.Mutex
	published map[string]time.Time // by the real clock
	largest   int                  // size of the largest message so far
	records   map[recordKey]*record
	streams   map[*stream]struct{}
	// The most that a stream had unacknowledged.
	maxUnacknowledged int
}

type recordKey struct{ subscription, message string }

type record struct {
	deliveries, acks, givenBack int
	modacks                     []modack
	ackID                       string // of the last delivery, until it is settled
}

type modack struct {
	Subscription    string    `json:"subscription"`
	DeadlineSeconds int32     `json:"deadline_seconds"`
	At              time.Time `json:"at"`
}

func newBroker(server *pstest.Server) *broker {
	b := &broker{pstest: server, streams: map[*stream]struct{}{}}
	b.forget()
	server.SetTimeNowFunc(b.now)
	return b
}

func (b *broker) now() time.Time { return time.Now().Add(time.Duration(b.ahead.Load())) }

func (b *broker) forget() {
	b.published = map[string]time.Time{}
	b.records = map[recordKey]*record{}
	for stream := range b.streams {
		clear(stream.leases)
	}
}

func (b *broker) clearMessages() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pstest.ClearMessages()
	b.forget()
}

func (b *broker) publish(ctx context.Context, request *pb.PublishRequest) (*pb.PublishResponse, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	response, err := b.pstest.GServer.Publish(ctx, request)
	for i, id := range response.GetMessageIds() {
		b.published[id] = time.Now()
		b.largest = max(b.largest, proto.Size(request.Messages[i]))
	}
	return response, err
}

// Takes messages from pstest, to a stream unless it is nil. The caller holds the lock.
func (b *broker) take(ctx context.Context, subscription string, limit int, to *stream) ([]*pb.ReceivedMessage, error) {
	request := &pb.PullRequest{Subscription: subscription, MaxMessages: int32(limit), ReturnImmediately: true}
	response, err := b.pstest.GServer.Pull(ctx, request)
	if err != nil {
		return nil, err
	}
	var taken []*pb.ReceivedMessage
	for _, received := range response.ReceivedMessages {
		// pstest goes on writing to its own.
		message := proto.CloneOf(received)
		if published, ok := b.published[message.Message.MessageId]; ok {
			message.Message.PublishTime = timestamppb.New(published)
		}
		record := b.record(subscription, message.AckId)
		record.deliveries++
		record.ackID = message.AckId
		if to != nil {
			to.leases[message.AckId] = &lease{size: proto.Size(message.Message), until: b.now().Add(to.deadline)}
		}
		taken = append(taken, message)
	}
	return taken, nil
}

func (b *broker) acknowledge(ctx context.Context, subscription string, ackIDs []string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	request := &pb.AcknowledgeRequest{Subscription: subscription, AckIds: ackIDs}
	if _, err := b.pstest.GServer.Acknowledge(ctx, request); err != nil {
		return err
	}
	for _, id := range ackIDs {
		if record := b.record(subscription, id); record.ackID == id {
			record.acks++
			record.ackID = ""
		}
		b.release(subscription, id)
	}
	return nil
}

func (b *broker) modifyAckDeadline(ctx context.Context, subscription string, ackIDs []string, seconds int32) error {
	if seconds < 0 || seconds > 600 {
		return status.Errorf(codes.InvalidArgument, "ack_deadline_seconds is %d and not from 0 to 600", seconds)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	request := &pb.ModifyAckDeadlineRequest{Subscription: subscription, AckIds: ackIDs, AckDeadlineSeconds: seconds}
	if _, err := b.pstest.GServer.ModifyAckDeadline(ctx, request); err != nil {
		return err
	}
	for _, id := range ackIDs {
		record := b.record(subscription, id)
		record.modacks = append(record.modacks, modack{subscription, seconds, time.Now()})
		if seconds > 0 {
			b.extend(subscription, id, seconds)
			continue
		}
		if record.ackID == id {
			record.givenBack++
			record.ackID = ""
		}
		b.release(subscription, id)
	}
	return nil
}

// The record of the message that an acknowledgement ID stands for.
func (b *broker) record(subscription, ackID string) *record {
	message := ackID
	if end := strings.LastIndexByte(ackID, ':'); end >= 0 {
		message = ackID[:end]
	}
	key := recordKey{subscription, message}
	if b.records[key] == nil {
		b.records[key] = &record{}
	}
	return b.records[key]
}

func (b *broker) release(subscription, ackID string) {
	for stream := range b.streams {
		if stream.subscription == subscription {
			delete(stream.leases, ackID)
		}
	}
}

func (b *broker) extend(subscription, ackID string, seconds int32) {
	for stream := range b.streams {
		if held := stream.leases[ackID]; held != nil && stream.subscription == subscription {
			held.until = b.now().Add(time.Duration(seconds) * time.Second)
		}
	}
}

// What has become of a message. With a subscription named, there alone.
type fate struct {
	ID          string            `json:"id"`
	Topic       string            `json:"topic"`
	PublishTime time.Time         `json:"publishTime"`
	Data        []byte            `json:"data"`
	Attributes  map[string]string `json:"attributes"`
	Deliveries  int               `json:"deliveries"`
	Acks        int               `json:"acks"`
	GivenBack   int               `json:"given_back"`
	Modacks     []modack          `json:"modacks"`
}

func (b *broker) fates(topic, subscription string) []*fate {
	b.mu.Lock()
	defer b.mu.Unlock()
	fates, byID := []*fate{}, map[string]*fate{}
	for _, message := range b.pstest.Messages() {
		if topic != "" && message.Topic != topic {
			continue
		}
		of := &fate{
			ID: message.ID, Topic: message.Topic, PublishTime: b.published[message.ID],
			Data: message.Data, Attributes: message.Attributes, Modacks: []modack{},
		}
		fates, byID[of.ID] = append(fates, of), of
	}
	for key, record := range b.records {
		of := byID[key.message]
		if of == nil || (subscription != "" && key.subscription != subscription) {
			continue
		}
		of.Deliveries += record.deliveries
		of.Acks += record.acks
		of.GivenBack += record.givenBack
		of.Modacks = append(of.Modacks, record.modacks...)
	}
	return fates
}
