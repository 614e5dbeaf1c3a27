package main

import (
	"bytes"
	"io"
	"net"
	"sync"
)

// How a connection of HTTP/2 begins.
var preface = []byte("PRI")

// The port that clients see. It hands its connections to the gRPC server or to
// the REST server, by their first bytes, and can be closed and opened again
// without those servers noticing.
type front struct {
	address    string
	grpc, rest *handedOver

	mu          sync.Mutex
	listener    net.Listener // nil while stopped
	connections map[net.Conn]struct{}
}

func newFront() (*front, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr()
	f := &front{
		address:     address.String(),
		grpc:        &handedOver{address: address, connections: make(chan net.Conn)},
		rest:        &handedOver{address: address, connections: make(chan net.Conn)},
		listener:    listener,
		connections: map[net.Conn]struct{}{},
	}
	go f.accept(listener)
	return f, nil
}

// Refuses connections from now on, and closes those that are open.
func (f *front) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener == nil {
		return
	}
	f.listener.Close()
	f.listener = nil
	for connection := range f.connections {
		connection.Close()
	}
	clear(f.connections)
}

// Listens on the same port again.
func (f *front) start() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp", f.address)
	if err != nil {
		return err
	}
	f.listener = listener
	go f.accept(listener)
	return nil
}

func (f *front) accept(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		if f.listener == listener {
			f.connections[connection] = struct{}{}
			go f.handOver(connection)
		} else { // stopped since it was accepted
			connection.Close()
		}
		f.mu.Unlock()
	}
}

func (f *front) handOver(connection net.Conn) {
	kept := &keptConnection{Conn: connection, front: f}
	first := make([]byte, len(preface))
	if _, err := io.ReadFull(connection, first); err != nil {
		kept.Close()
		return
	}
	kept.reader = io.MultiReader(bytes.NewReader(first), connection)
	if bytes.Equal(first, preface) {
		f.grpc.connections <- kept
	} else {
		f.rest.connections <- kept
	}
}

// A connection whose first bytes have been read already.
type keptConnection struct {
	net.Conn
	reader io.Reader
	front  *front
}

func (c *keptConnection) Read(into []byte) (int, error) { return c.reader.Read(into) }

func (c *keptConnection) Close() error {
	c.front.mu.Lock()
	delete(c.front.connections, c.Conn)
	c.front.mu.Unlock()
	return c.Conn.Close()
}

// A listener of connections that something else has accepted.
type handedOver struct {
	address     net.Addr
	connections chan net.Conn
}

func (h *handedOver) Accept() (net.Conn, error) { return <-h.connections, nil }
func (h *handedOver) Addr() net.Addr            { return h.address }
func (h *handedOver) Close() error              { return nil }
