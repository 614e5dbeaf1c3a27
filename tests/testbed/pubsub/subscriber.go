package main

import (
	"context"
	"errors"
	"io"
	"time"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
)

const (
	// How often it is looked whether there are messages.
	poll = 10 * time.Millisecond
	// The most in one response: a backlog goes to several streams.
	batch = 50
	// How long a unary Pull waits for a message, as in pstest.
	pullPatience = 500 * time.Millisecond
)

type publisher struct {
	pb.PublisherServer
	broker *broker
}

func (p *publisher) Publish(ctx context.Context, request *pb.PublishRequest) (*pb.PublishResponse, error) {
	return p.broker.publish(ctx, request)
}

type subscriber struct {
	pb.SubscriberServer
	broker *broker
}

// A stream that is served.
type stream struct {
	pb.Subscriber_StreamingPullServer
	subscription string
	deadline     time.Duration
	maxMessages  int // 0: as many as there are
	maxBytes     int
	cut          chan error
	leases       map[string]*lease // by acknowledgement ID
}

// A message that was sent on a stream, and not yet acknowledged or given back.
type lease struct {
	size  int
	until time.Time
}

func (s *subscriber) Acknowledge(ctx context.Context, request *pb.AcknowledgeRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, s.broker.acknowledge(ctx, request.Subscription, request.AckIds)
}

func (s *subscriber) ModifyAckDeadline(ctx context.Context, request *pb.ModifyAckDeadlineRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, s.broker.modifyAckDeadline(ctx, request.Subscription, request.AckIds, request.AckDeadlineSeconds)
}

func (s *subscriber) Pull(ctx context.Context, request *pb.PullRequest) (*pb.PullResponse, error) {
	deadline := time.Now().Add(pullPatience)
	for {
		s.broker.mu.Lock()
		taken, err := s.broker.take(ctx, request.Subscription, int(request.MaxMessages), nil)
		s.broker.mu.Unlock()
		if err != nil || len(taken) > 0 || time.Now().After(deadline) || ctx.Err() != nil {
			return &pb.PullResponse{ReceivedMessages: taken}, err
		}
		time.Sleep(poll)
	}
}

// In place of pstest's own, which ignores the limits of the client and sends
// about 64 messages a second. This one is built on pstest's Pull: it takes no
// message before the client has room for it.
func (s *subscriber) StreamingPull(server pb.Subscriber_StreamingPullServer) error {
	first, err := server.Recv()
	if err != nil {
		return err
	}
	settings, err := s.broker.pstest.GServer.GetSubscription(server.Context(), &pb.GetSubscriptionRequest{Subscription: first.Subscription})
	if err != nil {
		return err
	}
	if settings.GetPushConfig().GetPushEndpoint() != "" {
		return status.Errorf(codes.FailedPrecondition, "This method is not supported for this subscription type (%s is a push subscription).", first.Subscription)
	}
	if seconds := first.StreamAckDeadlineSeconds; seconds < 10 || seconds > 600 {
		return status.Errorf(codes.InvalidArgument, "stream_ack_deadline_seconds is %d and not from 10 to 600", seconds)
	}
	opened := &stream{
		Subscriber_StreamingPullServer: server,
		subscription:                   first.Subscription,
		deadline:                       time.Duration(first.StreamAckDeadlineSeconds) * time.Second,
		maxMessages:                    int(first.MaxOutstandingMessages),
		maxBytes:                       int(first.MaxOutstandingBytes),
		cut:                            make(chan error, 1),
		leases:                         map[string]*lease{},
	}
	s.broker.open(opened)
	defer s.broker.close(opened)

	pings, failed := make(chan struct{}, 1), make(chan error, 2)
	go func() { failed <- s.receive(opened, first, pings) }()
	go func() { failed <- s.send(opened, pings) }()
	// A client that does not read must not keep a stream from being cut: so
	// sending is the work of another goroutine.
	select {
	case err := <-failed:
		return err
	case err := <-opened.cut:
		return err
	}
}

func (b *broker) open(opened *stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[opened] = struct{}{}
}

func (b *broker) close(closed *stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.streams, closed)
}

// Ends every stream; without an error, in good order.
func (b *broker) cut(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for stream := range b.streams {
		select {
		case stream.cut <- err:
		default: // it is being cut
		}
	}
}

func (b *broker) openStreams() (open, maxUnacknowledged int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.streams), b.maxUnacknowledged
}

// Serves the requests of a stream, until the client has no more.
func (s *subscriber) receive(opened *stream, request *pb.StreamingPullRequest, pings chan<- struct{}) error {
	ctx, answersPings := opened.Context(), request.ProtocolVersion >= 1
	for {
		if err := s.broker.acknowledge(ctx, opened.subscription, request.AckIds); err != nil {
			return err
		}
		if len(request.ModifyDeadlineAckIds) != len(request.ModifyDeadlineSeconds) {
			return status.Error(codes.InvalidArgument, "modify_deadline_ack_ids and modify_deadline_seconds differ in length")
		}
		for i, id := range request.ModifyDeadlineAckIds {
			if err := s.broker.modifyAckDeadline(ctx, opened.subscription, []string{id}, request.ModifyDeadlineSeconds[i]); err != nil {
				return err
			}
		}
		next, err := opened.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		request = next
		if answersPings && len(request.AckIds)+len(request.ModifyDeadlineAckIds) == 0 {
			select {
			case pings <- struct{}{}:
			default: // one answer will do
			}
		}
	}
}

// Sends messages while the client has room for them, and answers its pings.
func (s *subscriber) send(opened *stream, pings <-chan struct{}) error {
	ticks := time.NewTicker(poll)
	defer ticks.Stop()
	for {
		response := &pb.StreamingPullResponse{}
		select {
		case <-opened.Context().Done():
			return status.FromContextError(opened.Context().Err()).Err()
		case <-pings:
		case <-ticks.C:
			messages, err := s.broker.takeFor(opened)
			if err != nil {
				return err
			}
			if len(messages) == 0 {
				continue
			}
			response.ReceivedMessages = messages
		}
		if err := opened.Send(response); err != nil {
			return err
		}
	}
}

// Takes as many messages as the client of this stream has room for.
func (b *broker) takeFor(opened *stream) ([]*pb.ReceivedMessage, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, open := b.streams[opened]; !open {
		return nil, nil
	}
	bytes, now := 0, b.now()
	for id, held := range opened.leases {
		if now.After(held.until) {
			delete(opened.leases, id)
		} else {
			bytes += held.size
		}
	}
	limit := batch
	if opened.maxMessages > 0 {
		limit = min(limit, opened.maxMessages-len(opened.leases))
	}
	if opened.maxBytes > 0 && bytes >= opened.maxBytes {
		limit = 0
	} else if opened.maxBytes > 0 && b.largest > 0 {
		// Never over the limit by more than one message.
		limit = min(limit, max(1, (opened.maxBytes-bytes)/b.largest))
	}
	if limit <= 0 {
		return nil, nil
	}
	ctx := opened.Context()
	taken, err := b.take(ctx, opened.subscription, limit, opened)
	if err != nil || len(taken) == 0 {
		return nil, err
	}
	b.maxUnacknowledged = max(b.maxUnacknowledged, len(opened.leases))
	// pstest's Pull knows the deadline of the subscription alone.
	extension := &pb.ModifyAckDeadlineRequest{Subscription: opened.subscription, AckDeadlineSeconds: int32(opened.deadline / time.Second)}
	for _, message := range taken {
		extension.AckIds = append(extension.AckIds, message.AckId)
	}
	_, err = b.pstest.GServer.ModifyAckDeadline(ctx, extension)
	return taken, err
}
