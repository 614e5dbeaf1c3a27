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
	published map[string]time.Time // by the real clock, or as the test says
	once      map[string]bool      // by message: not to be delivered again
	largest   int                  // size of the largest message so far
	records   map[recordKey]*record
	streams   map[*stream]struct{}
	// The most that a stream had unacknowledged.
	maxUnacknowledged int
}

type recordKey struct{ subscription, message string }

// Attributes that a test gives a message. With the first two it is delivered
// under an ID and a publish time of the test's choice; with the third it is not
// delivered again when it is given back.
const (
	testMessageID   = "test-message-id"
	testPublishTime = "test-publish-time"
	testOnce        = "test-once"
)

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
	b.published, b.once = map[string]time.Time{}, map[string]bool{}
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
	times := make([]time.Time, len(request.Messages))
	for i, message := range request.Messages {
		times[i] = time.Now()
		if written := message.Attributes[testPublishTime]; written != "" {
			var err error
			if times[i], err = time.Parse(time.RFC3339Nano, written); err != nil {
				return nil, status.Errorf(codes.InvalidArgument, "%s: %v", testPublishTime, err)
			}
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	response, err := b.pstest.GServer.Publish(ctx, request)
	for i, id := range response.GetMessageIds() {
		b.published[id] = times[i]
		b.once[id] = request.Messages[i].Attributes[testOnce] != ""
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
		if id := message.Message.Attributes[testMessageID]; id != "" {
			message.Message.MessageId = id
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
	if seconds == 0 {
		// First: pstest forgets the acknowledgement ID of what is given back.
		if err := b.takeAway(ctx, subscription, ackIDs); err != nil {
			return err
		}
	}
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

// Those that are delivered once are not delivered again.
func (b *broker) takeAway(ctx context.Context, subscription string, ackIDs []string) error {
	request := &pb.AcknowledgeRequest{Subscription: subscription}
	for _, id := range ackIDs {
		if b.once[messageOf(id)] {
			request.AckIds = append(request.AckIds, id)
		}
	}
	if len(request.AckIds) == 0 {
		return nil
	}
	_, err := b.pstest.GServer.Acknowledge(ctx, request)
	return err
}

// The message that an acknowledgement ID stands for.
func messageOf(ackID string) string {
	if end := strings.LastIndexByte(ackID, ':'); end >= 0 {
		return ackID[:end]
	}
	return ackID
}

// The record of that message.
func (b *broker) record(subscription, ackID string) *record {
	key := recordKey{subscription, messageOf(ackID)}
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
