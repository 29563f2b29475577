package dhcp4

import (
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// VendorClass is what the client calls itself to servers (option 60).
const VendorClass = "Ember"

// largest is the size of the largest message that the client wants to get.
const largest = 1500

// wanted are the options that the client asks for.
var wanted = []dhcpv4.OptionCode{
	dhcpv4.OptionSubnetMask,
	dhcpv4.OptionClasslessStaticRoute, // before the routers, RFC 3442
	dhcpv4.OptionRouter,
	dhcpv4.OptionDomainNameServer,
	dhcpv4.OptionHostName,
	dhcpv4.OptionDomainName,
	dhcpv4.OptionInterfaceMTU,
	dhcpv4.OptionBroadcastAddress,
	dhcpv4.OptionNTPServers,
	dhcpv4.OptionIPAddressLeaseTime,
	dhcpv4.OptionServerIdentifier,
	dhcpv4.OptionRenewTimeValue,
	dhcpv4.OptionRebindingTimeValue,
	dhcpv4.OptionDNSDomainSearchList,
}

// request is what the messages of one exchange have in common.
type request struct {
	mac   net.HardwareAddr
	xid   dhcpv4.TransactionID
	began time.Time
}

// message makes a message with everything that all of them have. The client
// identifier is the one of network-boot firmware, so that the machine gets the
// lease again with which it booted.
func (r request) message(kind dhcpv4.MessageType, options ...dhcpv4.Option) *dhcpv4.DHCPv4 {
	m := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootRequest,
		HWType:        iana.HWTypeEthernet,
		TransactionID: r.xid,
		NumSeconds:    uint16(min(time.Since(r.began)/time.Second, 0xffff)),
		ClientHWAddr:  r.mac,
		Options:       dhcpv4.OptionsFromList(options...),
	}
	m.UpdateOption(dhcpv4.OptMessageType(kind))
	m.UpdateOption(dhcpv4.OptClientIdentifier(append([]byte{byte(iana.HWTypeEthernet)}, r.mac...)))
	m.UpdateOption(dhcpv4.OptClassIdentifier(VendorClass))
	m.UpdateOption(dhcpv4.OptParameterRequestList(wanted...))
	m.UpdateOption(dhcpv4.OptMaxMessageSize(largest))
	return m
}

// discover asks all servers, and for the last address if there was one.
func (r request) discover(last netip.Addr) *dhcpv4.DHCPv4 {
	if !last.IsValid() {
		return r.message(dhcpv4.MessageTypeDiscover)
	}
	return r.message(dhcpv4.MessageTypeDiscover, dhcpv4.OptRequestedIPAddress(last.AsSlice()))
}

// accept takes an offer.
func (r request) accept(offer *Lease) *dhcpv4.DHCPv4 {
	return r.message(dhcpv4.MessageTypeRequest, dhcpv4.OptRequestedIPAddress(offer.Address.Addr().AsSlice()),
		dhcpv4.OptServerIdentifier(offer.Server.AsSlice()))
}

// confirm asks whether a lease still holds on this network (INIT-REBOOT).
func (r request) confirm(l *Lease) *dhcpv4.DHCPv4 {
	return r.message(dhcpv4.MessageTypeRequest, dhcpv4.OptRequestedIPAddress(l.Address.Addr().AsSlice()))
}

// extend asks for more of a lease, of its server or of any.
func (r request) extend(l *Lease) *dhcpv4.DHCPv4 {
	m := r.message(dhcpv4.MessageTypeRequest)
	m.ClientIPAddr = l.Address.Addr().AsSlice()
	return m
}
