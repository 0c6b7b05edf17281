//! Keeps web pages away from endpoints that are meant for this machine or this cluster.
//!
//! A page in a browser can send requests to an address that only the browser's machine reaches, and by
//! rebinding a name of its own to that address it can read the answers too. Such requests give themselves
//! away: they carry an `Origin`, or the page's own name as their host.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{StatusCode, header};

/// Says why a request was refused. As a response it is a 403 with this sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The request came from a web page.
    #[error("requests of web pages are refused here; this one has an Origin header")]
    Origin,
    /// The request names no host.
    #[error("requests without a host are refused here; send a Host header")]
    NoHost,
    /// The request has several `Host` headers, or one that is not text.
    #[error("the Host header must occur once and hold a name or an address, with or without a port")]
    BadHost,
    /// The request is for somebody else.
    #[error(
        "{host:?} is none of the names of this endpoint; use localhost or an IP address, or have the name allowed"
    )]
    ForeignHost {
        /// The host that was asked for, as the request writes it.
        host: String,
    },
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::FORBIDDEN, format!("{self}\n")).into_response()
    }
}

/// Which addresses, written as numbers, are acceptable as a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Literals {
    /// 127.0.0.0/8 and `::1`.
    Loopback,
    /// All: rebinding needs a name. For endpoints that are probed by the address of a pod.
    Any,
}

/// The hosts that an endpoint answers to. `localhost` is always one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostGuard {
    literals: Literals,
    allowed: Vec<String>,
}

impl HostGuard {
    /// Makes a guard. The allowed names, or addresses, have no port; every port is acceptable.
    #[must_use]
    pub const fn new(literals: Literals, allowed: Vec<String>) -> Self {
        Self { literals, allowed }
    }

    /// Judges a request by its head.
    ///
    /// # Errors
    /// [`Refused`], which is the response to send.
    pub fn check(&self, request: &Parts) -> Result<(), Refused> {
        let mut hosts = request.headers.get_all(header::HOST).iter();
        let host = hosts.next().map(|host| host.to_str().map_err(|_| Refused::BadHost)).transpose()?;
        // Proxies differ in which of several they believe.
        if hosts.next().is_some() {
            return Err(Refused::BadHost);
        }
        let authority = request.uri.authority().map(http::uri::Authority::as_str);
        self.judge(host, authority, request.headers.contains_key(header::ORIGIN))
    }

    fn judge(
        &self,
        host: Option<&str>,
        authority: Option<&str>,
        origin_present: bool,
    ) -> Result<(), Refused> {
        if origin_present {
            return Err(Refused::Origin);
        }
        if host.is_none() && authority.is_none() {
            return Err(Refused::NoHost);
        }
        // Both may be present, in HTTP/2 or with an absolute target; then both must be good.
        for given in host.into_iter().chain(authority) {
            if !Host::parse(given).is_some_and(|host| self.answers_to(host)) {
                return Err(Refused::ForeignHost { host: given.to_owned() });
            }
        }
        Ok(())
    }

    fn answers_to(&self, host: Host<'_>) -> bool {
        let always = match host {
            Host::Name(name) => name.eq_ignore_ascii_case("localhost"),
            Host::Ip(ip) => self.literals == Literals::Any || ip.is_loopback(),
        };
        always || self.allowed.iter().any(|allowed| host.is(allowed))
    }
}

/// Lets a request pass or answers it with a 403: for `axum::middleware::from_fn_with_state`.
///
/// # Errors
/// [`Refused`], which becomes the response.
pub async fn enforce(
    State(guard): State<Arc<HostGuard>>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    let (head, body) = request.into_parts();
    guard.check(&head)?;
    Ok(next.run(Request::from_parts(head, body)).await)
}

#[derive(Clone, Copy)]
enum Host<'a> {
    Name(&'a str),
    Ip(IpAddr),
}

impl<'a> Host<'a> {
    /// Takes a host with or without a port apart.
    fn parse(given: &'a str) -> Option<Self> {
        if let Some(bracketed) = given.strip_prefix('[') {
            let (address, port) = bracketed.split_once(']')?;
            let port_is_good = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
            let address = address.parse().ok().filter(|_| port_is_good)?;
            return Some(Self::Ip(IpAddr::V6(address).to_canonical()));
        }
        let host = match given.split_once(':') {
            Some((host, port)) => Some(host).filter(|_| is_port(port))?,
            None => given,
        };
        Some(host.parse().map_or(Self::Name(host), Self::Ip))
    }

    fn is(self, allowed: &str) -> bool {
        match self {
            Self::Name(name) => name.eq_ignore_ascii_case(allowed),
            Self::Ip(ip) => {
                let bare = allowed.trim_start_matches('[').trim_end_matches(']');
                bare.parse().is_ok_and(|allowed: IpAddr| allowed.to_canonical() == ip)
            }
        }
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<String> {
        ["service.example", "10.0.0.7", "fd00::7"].map(str::to_owned).to_vec()
    }

    /// By the strict rule: loopback, or exactly one of the allowed names.
    fn judge(
        host: Option<&str>,
        authority: Option<&str>,
        origin_present: bool,
        allowed: &[String],
    ) -> Result<(), Refused> {
        HostGuard::new(Literals::Loopback, allowed.to_vec()).judge(host, authority, origin_present)
    }

    fn check(host: &str, expected: bool) {
        let judged = judge(Some(host), None, false, &allowed());
        let foreign = Err(Refused::ForeignHost { host: host.to_owned() });
        assert_eq!(judged, if expected { Ok(()) } else { foreign }, "{host}");
    }

    #[test]
    fn loopback_and_allowed_hosts_pass_with_and_without_a_port() {
        for host in ["localhost", "LocalHost:8080", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:443"] {
            check(host, true);
        }
        for host in ["[::ffff:127.0.0.1]:80", "service.example", "Service.Example:80"] {
            check(host, true);
        }
        for host in ["10.0.0.7", "10.0.0.7:80", "[fd00::7]:80"] {
            check(host, true);
        }
    }

    #[test]
    fn whatever_only_looks_like_an_allowed_host_is_refused() {
        for host in ["", ":80", "localhost.", "localhost.evil.example", "evil.example", "x.service.example"] {
            check(host, false);
        }
        for host in ["127.0.0.1.evil.example", "evil@localhost", "127.1", "0x7f.0.0.1", "10.0.0.8", "0.0.0.0"]
        {
            check(host, false);
        }
        for host in
            ["localhost:", "localhost:+80", "localhost:99999", "localhost:80:80", "::1", "[::1", "[::1]80"]
        {
            check(host, false);
        }
    }

    #[test]
    fn an_origin_is_refused_whatever_the_host() {
        assert_eq!(judge(Some("localhost"), None, true, &[]), Err(Refused::Origin));
    }

    #[test]
    fn host_and_authority_must_both_be_good_and_one_must_be_there() {
        assert_eq!(judge(None, None, false, &[]), Err(Refused::NoHost));
        assert_eq!(judge(None, Some("localhost:80"), false, &[]), Ok(()));
        let foreign = || Err(Refused::ForeignHost { host: "evil.example".to_owned() });
        assert_eq!(judge(Some("evil.example"), Some("localhost"), false, &[]), foreign());
        assert_eq!(judge(Some("localhost"), Some("evil.example"), false, &[]), foreign());
    }

    fn head(request: http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn where_any_address_is_acceptable_names_still_are_not() {
        let guard = HostGuard::new(Literals::Any, Vec::new());
        let with_host = |host| head(http::Request::builder().uri("/").header("host", host));
        assert_eq!(guard.check(&with_host("192.0.2.1:9")), Ok(()));
        assert_eq!(guard.check(&with_host("[2001:db8::1]:9")), Ok(()));
        let foreign = Refused::ForeignHost { host: "evil.example".to_owned() };
        assert_eq!(guard.check(&with_host("evil.example")), Err(foreign));
    }

    #[test]
    fn several_hosts_in_one_request_are_refused() {
        let guard = HostGuard::new(Literals::Loopback, Vec::new());
        let request = http::Request::builder().header("host", "localhost").header("host", "localhost");
        assert_eq!(guard.check(&head(request)), Err(Refused::BadHost));
        let absolute = http::Request::builder().uri("http://evil.example/").header("host", "localhost");
        let foreign = Refused::ForeignHost { host: "evil.example".to_owned() };
        assert_eq!(guard.check(&head(absolute)), Err(foreign));
    }
}
