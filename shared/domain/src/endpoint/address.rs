//! Which addresses a webhook may be sent to.
//!
//! Customers choose the URLs, and our functions run inside a network. Without this check a URL could make us call our
//! own machine, its metadata service or a private neighbour (server-side request forgery). Only *globally reachable
//! unicast* addresses pass. The forbidden families are those of IANA's special-purpose address registries for IPv4 and
//! IPv6. In IPv6 everything outside `2000::/3` is forbidden too, since nothing there is assigned to hosts.
//!
//! The check is about addresses only. [`crate::endpoint::url`] applies it to IP literals, and `sender` to the addresses
//! that a name resolves to, which are the only ones it connects to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The family of forbidden addresses that an address belongs to. For logs and tests; customers only learn that the
/// address is not public.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// `0.0.0.0/8` and `::`: "this host". Connecting to it reaches the own machine.
    ThisHost,
    Loopback,
    /// RFC 1918, IPv6 unique-local (`fc00::/7`) and the older site-local (`fec0::/10`).
    Private,
    /// `100.64.0.0/10`, shared by a carrier and its subscribers.
    CarrierGradeNat,
    /// `169.254.0.0/16` and `fe80::/10`, where clouds serve a machine's metadata and credentials. Never opened.
    LinkLocal,
    /// `fd00:ec2::/32`, where AWS has its IPv6 metadata service. Never opened.
    Metadata,
    Multicast,
    Broadcast,
    Documentation,
    Benchmarking,
    /// Set aside by IANA, deprecated, or not (yet) assigned to hosts.
    Reserved,
    /// An IPv6 address that embeds an IPv4 one: mapped, compatible, local NAT64, 6to4, Teredo, or a public NAT64 or
    /// ISATAP form of a forbidden IPv4 address. Never opened.
    EmbedsIpv4,
    /// Forbidden by the parameter `DenyNetworks`, although it may be public.
    Denied,
}

/// Networks that are allowed although they are not public, for local runs: the parameter `AllowPrivateNetworks`. And
/// the exceptions, which are forbidden although they are public or allowed: the parameter `DenyNetworks`.
///
/// Link-local addresses, the metadata service, and the IPv6 forms of IPv4 addresses stay forbidden whatever is listed
/// here: no local run needs them, and such a form could lead to the metadata service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedNetworks {
    private: Vec<IpNet>,
    denied: Vec<IpNet>,
}

/// Networks that endpoints must not be in, although they are public: the parameter `DenyNetworks`. For example those
/// that trust this service's own addresses, or the public addresses of its own network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeniedNetworks(Vec<IpNet>);

/// An entry of the parameter `AllowPrivateNetworks` or `DenyNetworks` that is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} is not a network: write a comma-separated list of CIDR blocks, such as 127.0.0.0/8,::1/128")]
pub struct InvalidNetwork {
    entry: String,
}

impl AllowedNetworks {
    /// The production setting: public addresses only.
    pub fn none() -> Self {
        Self::default()
    }

    /// The same networks with exceptions, which win.
    #[must_use]
    pub fn except(self, denied: DeniedNetworks) -> Self {
        Self { denied: denied.0, ..self }
    }

    fn open(&self, address: IpAddr, family: Forbidden) -> bool {
        let is_never_opened = matches!(family, Forbidden::LinkLocal | Forbidden::Metadata | Forbidden::EmbedsIpv4);
        !is_never_opened && self.private.iter().any(|network| network.contains(&address))
    }

    /// Whether an address is denied, also as the IPv4 address within an IPv6 one.
    fn deny(&self, address: IpAddr) -> bool {
        let inner = match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => inner_v4(address).map(IpAddr::V4),
        };
        let is_denied = |address: IpAddr| self.denied.iter().any(|network| network.contains(&address));
        is_denied(address) || inner.is_some_and(is_denied)
    }
}

impl FromStr for AllowedNetworks {
    type Err = InvalidNetwork;

    /// Parses a comma-separated list of CIDR blocks. White space around entries is ignored; an empty text means no
    /// network.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { private: parse_networks(text)?, denied: Vec::new() })
    }
}

impl FromStr for DeniedNetworks {
    type Err = InvalidNetwork;

    /// Parses the same kind of list.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_networks(text).map(Self)
    }
}

fn parse_networks(text: &str) -> Result<Vec<IpNet>, InvalidNetwork> {
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let parse = |entry: &str| entry.parse().map_err(|_| InvalidNetwork { entry: entry.to_owned() });
    text.split(',').map(str::trim).map(parse).collect()
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ThisHost => "this host",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::CarrierGradeNat => "carrier-grade NAT",
            Self::LinkLocal => "link-local",
            Self::Metadata => "cloud metadata",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Documentation => "documentation",
            Self::Benchmarking => "benchmarking",
            Self::Reserved => "reserved",
            Self::EmbedsIpv4 => "IPv6 form of an IPv4 address",
            Self::Denied => "denied",
        })
    }
}

/// Checks whether a webhook may be sent to an address.
///
/// # Errors
/// The family of forbidden addresses that it belongs to, unless `allowed` contains it; [`Forbidden::Denied`] for its
/// exceptions.
pub fn check(address: IpAddr, allowed: &AllowedNetworks) -> Result<(), Forbidden> {
    if allowed.deny(address) {
        return Err(Forbidden::Denied);
    }
    let family = match address {
        IpAddr::V4(address) => family_v4(address),
        IpAddr::V6(address) => family_v6(address),
    };
    match family {
        None => Ok(()),
        Some(family) if allowed.open(address, family) => Ok(()),
        Some(family) => Err(family),
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

const LINK_LOCAL_V4: Ipv4Net = v4(169, 254, 0, 0, 16);
const LINK_LOCAL_V6: Ipv6Net = v6(0xfe80, 0, 0, 10);
const METADATA_V6: Ipv6Net = v6(0xfd00, 0x0ec2, 0, 32);
const GLOBAL_UNICAST: Ipv6Net = v6(0x2000, 0, 0, 3);
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);
const NAT64_LOCAL: Ipv6Net = v6(0x64, 0xff9b, 1, 48);
const SIX_TO_FOUR: Ipv6Net = v6(0x2002, 0, 0, 16);
const TEREDO: Ipv6Net = v6(0x2001, 0, 0, 32);

/// IANA's IPv4 special-purpose registry. Three of its blocks are globally reachable and therefore left out:
/// `192.31.196.0/24` and `192.175.48.0/24` (AS112) and `192.52.193.0/24` (AMT). The first network that contains an
/// address determines its family.
const FORBIDDEN_V4: [(Ipv4Net, Forbidden); 16] = [
    (v4(0, 0, 0, 0, 8), Forbidden::ThisHost),
    (v4(10, 0, 0, 0, 8), Forbidden::Private),
    (v4(100, 64, 0, 0, 10), Forbidden::CarrierGradeNat),
    (v4(127, 0, 0, 0, 8), Forbidden::Loopback),
    (LINK_LOCAL_V4, Forbidden::LinkLocal),
    (v4(172, 16, 0, 0, 12), Forbidden::Private),
    // IETF protocol assignments.
    (v4(192, 0, 0, 0, 24), Forbidden::Reserved),
    (v4(192, 0, 2, 0, 24), Forbidden::Documentation),
    // The deprecated 6to4 relays.
    (v4(192, 88, 99, 0, 24), Forbidden::Reserved),
    (v4(192, 168, 0, 0, 16), Forbidden::Private),
    (v4(198, 18, 0, 0, 15), Forbidden::Benchmarking),
    (v4(198, 51, 100, 0, 24), Forbidden::Documentation),
    (v4(203, 0, 113, 0, 24), Forbidden::Documentation),
    // Includes MCAST-TEST-NET.
    (v4(224, 0, 0, 0, 4), Forbidden::Multicast),
    (v4(255, 255, 255, 255, 32), Forbidden::Broadcast),
    (v4(240, 0, 0, 0, 4), Forbidden::Reserved),
];

/// IANA's IPv6 special-purpose registry, and blocks inside `2000::/3` that are not for hosts. Anything else outside
/// `2000::/3` is [`Forbidden::Reserved`] too: the discard prefix `100::/64`, SRv6's `5f00::/16` and everything
/// unassigned. The first network that contains an address determines its family.
const FORBIDDEN_V6: [(Ipv6Net, Forbidden); 13] = [
    (METADATA_V6, Forbidden::Metadata),
    (v6(0xfc00, 0, 0, 7), Forbidden::Private),
    (LINK_LOCAL_V6, Forbidden::LinkLocal),
    (v6(0xfec0, 0, 0, 10), Forbidden::Private),
    (v6(0xff00, 0, 0, 8), Forbidden::Multicast),
    (NAT64_LOCAL, Forbidden::EmbedsIpv4),
    (SIX_TO_FOUR, Forbidden::EmbedsIpv4),
    (TEREDO, Forbidden::EmbedsIpv4),
    (v6(0x2001, 2, 0, 48), Forbidden::Benchmarking),
    // IETF protocol assignments: ORCHID, ORCHIDv2, DRIP, AMT, AS112 and room for more.
    (v6(0x2001, 0, 0, 23), Forbidden::Reserved),
    (v6(0x2001, 0x0db8, 0, 32), Forbidden::Documentation),
    (v6(0x3fff, 0, 0, 20), Forbidden::Documentation),
    // The returned 6bone.
    (v6(0x3ffe, 0, 0, 16), Forbidden::Reserved),
];

fn family_v4(address: Ipv4Addr) -> Option<Forbidden> {
    FORBIDDEN_V4.iter().find(|(network, _)| network.contains(&address)).map(|(_, family)| *family)
}

fn family_v6(address: Ipv6Addr) -> Option<Forbidden> {
    if address.is_unspecified() {
        return Some(Forbidden::ThisHost);
    }
    if address.is_loopback() {
        return Some(Forbidden::Loopback);
    }
    if let Some(named) = FORBIDDEN_V6.iter().find(|(network, _)| network.contains(&address)) {
        return Some(named.1);
    }
    if matches!(address.segments(), [0, 0, 0, 0, 0, 0 | 0xffff, _, _] | [0, 0, 0, 0, 0xffff, 0, _, _]) {
        // Compatible, mapped, translated.
        return Some(Forbidden::EmbedsIpv4);
    }
    if inner_v4(address).is_some_and(|inner| family_v4(inner).is_some()) {
        return Some(Forbidden::EmbedsIpv4);
    }
    (!NAT64.contains(&address) && !GLOBAL_UNICAST.contains(&address)).then_some(Forbidden::Reserved)
}

/// The IPv4 address embedded in an address that is allowed only if the embedded one is. NAT64's public prefix is how an
/// IPv6-only network reaches IPv4-only hosts. ISATAP (interface identifier `0:5efe` or `200:5efe`) occurs within
/// ordinary prefixes. NAT64 with a network's own prefix (RFC 6052) cannot be distinguished from an ordinary address.
fn inner_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., s4, s5, s6, s7] = address.segments();
    let embeds = NAT64.contains(&address) || matches!((s4, s5), (0 | 0x0200, 0x5efe));
    embeds.then(|| Ipv4Addr::from_bits(u32::from(s6) << 16 | u32::from(s7)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_address(address: &str, expected: Result<(), Forbidden>) {
        let parsed = address.parse().expect("a test address parses");
        assert_eq!(check(parsed, &AllowedNetworks::none()), expected, "{address}");
    }

    #[track_caller]
    fn forbidden(addresses: &[&str], family: Forbidden) {
        addresses.iter().for_each(|address| check_address(address, Err(family)));
    }

    #[track_caller]
    fn public(addresses: &[&str]) {
        addresses.iter().for_each(|address| check_address(address, Ok(())));
    }

    /// The first and the last address of each family.
    #[test]
    fn ipv4_families_are_forbidden() {
        forbidden(&["0.0.0.0", "0.255.255.255"], Forbidden::ThisHost);
        forbidden(&["10.0.0.0", "10.255.255.255"], Forbidden::Private);
        forbidden(&["100.64.0.0", "100.100.100.200", "100.127.255.255"], Forbidden::CarrierGradeNat);
        forbidden(&["127.0.0.0", "127.0.0.1", "127.255.255.255"], Forbidden::Loopback);
        forbidden(&["169.254.0.0", "169.254.169.254", "169.254.170.2", "169.254.255.255"], Forbidden::LinkLocal);
        forbidden(&["172.16.0.0", "172.31.255.255"], Forbidden::Private);
        forbidden(&["192.0.0.0", "192.0.0.9", "192.0.0.255"], Forbidden::Reserved);
        forbidden(&["192.0.2.0", "192.0.2.255"], Forbidden::Documentation);
        forbidden(&["192.88.99.0", "192.88.99.255"], Forbidden::Reserved);
        forbidden(&["192.168.0.0", "192.168.255.255"], Forbidden::Private);
        forbidden(&["198.18.0.0", "198.19.255.255"], Forbidden::Benchmarking);
        forbidden(&["198.51.100.0", "198.51.100.255"], Forbidden::Documentation);
        forbidden(&["203.0.113.0", "203.0.113.255"], Forbidden::Documentation);
        forbidden(&["224.0.0.0", "233.252.0.1", "239.255.255.255"], Forbidden::Multicast);
        forbidden(&["240.0.0.0", "255.255.255.254"], Forbidden::Reserved);
        forbidden(&["255.255.255.255"], Forbidden::Broadcast);
    }

    /// The addresses right before and right after each family.
    #[test]
    fn ipv4_neighbours_pass() {
        public(&["1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"]);
        public(&["126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0"]);
        public(&["172.15.255.255", "172.32.0.0", "191.255.255.255", "192.0.1.0", "192.0.1.255", "192.0.3.0"]);
        public(&["192.88.98.255", "192.88.100.0", "192.167.255.255", "192.169.0.0"]);
        public(&["198.17.255.255", "198.20.0.0", "198.51.99.255", "198.51.101.0"]);
        public(&["203.0.112.255", "203.0.114.0", "223.255.255.255"]);
        public(&["192.31.196.1", "192.52.193.1", "192.175.48.1"]);
    }

    #[test]
    fn ipv6_families_are_forbidden() {
        forbidden(&["::"], Forbidden::ThisHost);
        forbidden(&["::1"], Forbidden::Loopback);
        forbidden(&["fc00::", "fd00::1", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], Forbidden::Private);
        forbidden(&["fd00:ec2::", "fd00:ec2::254", "fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff"], Forbidden::Metadata);
        forbidden(&["fe80::", "fe80::1", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], Forbidden::LinkLocal);
        forbidden(&["fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], Forbidden::Private);
        forbidden(&["ff00::", "ff02::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], Forbidden::Multicast);
        forbidden(&["2001:2::", "2001:2:0:ffff:ffff:ffff:ffff:ffff"], Forbidden::Benchmarking);
        forbidden(&["2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"], Forbidden::Documentation);
        forbidden(&["3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff"], Forbidden::Documentation);
        // IETF protocol assignments: ORCHID, ORCHIDv2, DRIP, AMT, AS112; the block's ends.
        forbidden(&["2001:10::", "2001:2f:ffff::", "2001:30::", "2001:3::1", "2001:4:112::1"], Forbidden::Reserved);
        forbidden(&["2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff"], Forbidden::Reserved);
        forbidden(&["3ffe::", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], Forbidden::Reserved);
        // Discard-only, dummy, SRv6, and what is assigned to nobody.
        forbidden(&["100::", "100::ffff:ffff:ffff:ffff", "100:0:0:1::", "5f00::", "5f00:ffff::"], Forbidden::Reserved);
        forbidden(&["::2:0:0:0", "1fff:ffff::", "4000::", "8000::", "fbff:ffff::", "fe00::"], Forbidden::Reserved);
    }

    #[test]
    fn ipv6_neighbours_pass() {
        public(&["2000::", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::", "2001:4860:4860::8888"]);
        public(&["2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"]);
        public(&["2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"]);
        public(&["2606:4700:4700::1111", "3ffd:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::", "3fff:ffff::"]);
    }

    #[test]
    fn ipv6_forms_of_ipv4_are_forbidden() {
        // Compatible, mapped, translated: first, last, and a harmless address within.
        forbidden(&["::2", "::8.8.8.8", "::169.254.169.254", "::255.255.255.255"], Forbidden::EmbedsIpv4);
        forbidden(&["::ffff:0.0.0.0", "::ffff:127.0.0.1", "::ffff:8.8.8.8"], Forbidden::EmbedsIpv4);
        forbidden(&["::ffff:255.255.255.255", "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"], Forbidden::EmbedsIpv4);
        // NAT64 for local use, 6to4, Teredo: first and last.
        forbidden(&["64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff"], Forbidden::EmbedsIpv4);
        forbidden(&["2002::", "2002:7f00:1::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], Forbidden::EmbedsIpv4);
        forbidden(&["2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff"], Forbidden::EmbedsIpv4);
        // ISATAP in an ordinary prefix, by the address within.
        forbidden(&["2606:4700::5efe:10.0.0.1", "2606:4700::200:5efe:127.0.0.1"], Forbidden::EmbedsIpv4);
        public(&["2606:4700::5efe:8.8.8.8", "2606:4700::5eff:10.0.0.1"]);
    }

    /// The prefix of RFC 6052 is globally reachable: it is how an IPv6-only subnet reaches IPv4-only endpoints.
    #[test]
    fn public_nat64_is_judged_by_the_address_within() {
        forbidden(&["64:ff9b::", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254"], Forbidden::EmbedsIpv4);
        forbidden(&["64:ff9b::127.0.0.1", "64:ff9b::255.255.255.255"], Forbidden::EmbedsIpv4);
        public(&["64:ff9b::8.8.8.8", "64:ff9b::1.0.0.0"]);
        forbidden(&["64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "64:ff9b::1:808:808"], Forbidden::Reserved);
    }

    #[track_caller]
    fn check_allowed(networks: &str, address: &str, expected: Result<(), Forbidden>) {
        let networks: AllowedNetworks = networks.parse().expect("test networks parse");
        assert_eq!(check(address.parse().expect("a test address parses"), &networks), expected, "{address}");
    }

    #[test]
    fn allowed_networks_open_what_they_contain_and_no_more() {
        check_allowed("127.0.0.0/8", "127.0.0.1", Ok(()));
        check_allowed("127.0.0.0/8", "10.0.0.1", Err(Forbidden::Private));
        check_allowed(" 10.0.0.0/8 , ::1/128 ", "::1", Ok(()));
        check_allowed("10.0.0.0/8,::1/128", "10.1.2.3", Ok(()));
        check_allowed("127.0.0.1/32", "127.0.0.2", Err(Forbidden::Loopback));
        check_allowed("127.0.0.0/8", "::ffff:127.0.0.1", Err(Forbidden::EmbedsIpv4));
        check_allowed("127.0.0.0/8", "8.8.8.8", Ok(()));
        check_allowed("fd00::/8", "fd12::1", Ok(()));
    }

    #[test]
    fn nothing_opens_link_local_or_metadata() {
        for address in ["169.254.0.0", "169.254.169.254", "169.254.255.255"] {
            check_allowed("0.0.0.0/0,::/0", address, Err(Forbidden::LinkLocal));
            check_allowed("169.254.0.0/16", address, Err(Forbidden::LinkLocal));
        }
        check_allowed("::/0", "fe80::1", Err(Forbidden::LinkLocal));
        check_allowed("fd00::/8", "fd00:ec2::254", Err(Forbidden::Metadata));
        for form in [
            "::169.254.169.254",
            "::ffff:169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "2002:a9fe:a9fe::1",
            // Teredo: as the server, and as the client with its bits flipped.
            "2001:0:a9fe:a9fe::1",
            "2001:0:808:808:0:0:5601:5601",
            "2606:4700::5efe:169.254.169.254",
        ] {
            check_allowed("::/0", form, Err(Forbidden::EmbedsIpv4));
        }
    }

    #[track_caller]
    fn check_denied(private: &str, denied: &str, address: &str, expected: Result<(), Forbidden>) {
        let networks = private.parse::<AllowedNetworks>().expect("test networks parse");
        let networks = networks.except(denied.parse().expect("test networks parse"));
        assert_eq!(check(address.parse().expect("a test address parses"), &networks), expected, "{address}");
    }

    #[test]
    fn denied_networks_are_closed_in_every_form() {
        let denied = "198.41.0.0/24, 2606:4700::/32";
        for address in ["198.41.0.4", "2606:4700::1111", "64:ff9b::198.41.0.4", "2a00::5efe:198.41.0.4"] {
            check_denied("", denied, address, Err(Forbidden::Denied));
        }
        for address in ["198.41.1.4", "2606:4701::1", "64:ff9b::198.41.1.4"] {
            check_denied("", denied, address, Ok(()));
        }
        check_denied("", denied, "10.0.0.1", Err(Forbidden::Private));
        check_denied("10.0.0.0/8", "10.1.0.0/16", "10.1.2.3", Err(Forbidden::Denied));
        check_denied("10.0.0.0/8", "10.1.0.0/16", "10.2.2.3", Ok(()));
    }

    #[track_caller]
    fn check_list(text: &str, expected: Result<usize, &str>) {
        let parsed = text.parse::<AllowedNetworks>();
        let parsed = parsed.as_ref().map(|networks| networks.private.len()).map_err(|error| error.entry.as_str());
        assert_eq!(parsed, expected, "{text:?}");
    }

    #[test]
    fn allowed_networks_are_a_comma_separated_list() {
        check_list("", Ok(0));
        check_list("  ", Ok(0));
        check_list("127.0.0.0/8", Ok(1));
        check_list("127.0.0.0/8, ::1/128 ,10.0.0.0/8", Ok(3));
        check_list("127.0.0.1", Err("127.0.0.1"));
        check_list("127.0.0.0/33", Err("127.0.0.0/33"));
        check_list("127.0.0.0/8,", Err(""));
        check_list("all", Err("all"));
    }
}
