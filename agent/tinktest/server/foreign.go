package main

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"
)

// unknown announces an agent that calls what this server does not have, such as tink-worker, whose
// requests begin with its ID.
func (s *server) unknown(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	e := Event{Event: eventForeign, Method: method}
	if p, ok := peer.FromContext(stream.Context()); ok {
		e.Address = p.Addr.String()
	}
	var request emptypb.Empty // keeps fields that it does not know
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	e.Agent = firstString(request.ProtoReflect().GetUnknown())
	s.events.write(e)
	return status.Errorf(codes.Unimplemented, "%s is not of this protocol", method)
}

// firstString gives field 1 of a message, if that comes first and is a string.
func firstString(message []byte) string {
	number, kind, n := protowire.ConsumeTag(message)
	if n < 0 || number != 1 || kind != protowire.BytesType {
		return ""
	}
	text, n := protowire.ConsumeString(message[n:])
	if n < 0 {
		return ""
	}
	return text
}
