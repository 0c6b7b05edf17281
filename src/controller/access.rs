//! Who calls the admin API of a cluster, and what they may do there. Who knows is outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use tonic::Status;
use tonic::service::Routes;

use crate::revocation::names::ListName;
use crate::revocation::selector::{Scope, Selection};

use super::bearer;

/// Who makes a call, as the API server knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub name: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
    /// What names the user for good, if anything does.
    pub uid: Option<String>,
    /// What else the API server's authentication says.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Something that a call needs a right for, in the words of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// The verb.
    pub verb: &'static str,
    /// The resource, in our group.
    pub resource: &'static str,
    /// The namespace; none is all of them.
    pub namespace: Option<String>,
    /// The object, if it is about one.
    pub name: Option<String>,
}

/// Knows callers, and what they may do.
pub trait Access: Send + Sync + 'static {
    /// Finds out whose token it is.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` if it is nobody's, `UNAVAILABLE` if that can't be found out.
    fn caller(&self, token: String) -> BoxFuture<'_, Result<Caller, Status>>;

    /// Tells whether a caller has a right.
    ///
    /// # Errors
    /// `UNAVAILABLE` if that can't be found out.
    fn may<'a>(
        &'a self,
        caller: &'a Caller,
        permission: &'a Permission,
    ) -> BoxFuture<'a, Result<bool, Status>>;
}

impl Permission {
    /// The right to do something with the revocations of a namespace, or of all.
    #[must_use]
    pub fn on_revocations(verb: &'static str, namespace: Option<&str>) -> Self {
        Self { verb, resource: "revocations", namespace: namespace.map(ToOwned::to_owned), name: None }
    }

    /// The right that a target needs beside: none for a narrow one. It is the same for lifting.
    #[must_use]
    pub fn on_wide(list: &ListName, selection: &Selection) -> Option<Self> {
        let verb = match (selection, selection.scope()) {
            (Selection::Everything, _) => "revoke-issuer",
            (_, Scope::Wide) => "revoke-wide",
            (_, Scope::Narrow) => return None,
        };
        Some(Self {
            verb,
            resource: "tokenrevocationlists",
            namespace: Some(list.namespace().to_owned()),
            name: Some(list.name().to_owned()),
        })
    }

    /// Says that somebody lacks it, and whom to ask for what.
    fn refusal(&self, caller: &Caller) -> Status {
        let Self { verb, resource, namespace, name } = self;
        let where_ = match namespace {
            Some(namespace) => format!("in namespace {namespace}"),
            None => "in all namespaces; name a list, if those of its namespace are enough".to_owned(),
        };
        let object = name.as_ref().map(|name| format!("/{name}")).unwrap_or_default();
        let what = match *verb {
            "revoke-issuer" => "revoking everything of an issuer, and lifting that,",
            "revoke-wide" => {
                "revoking by key, by client, or by a selector without jti, sid and sub, and lifting that,"
            }
            _ => "this",
        };
        let role = if name.is_some() { "rescind-revoker-wide" } else { "rescind-revoker" };
        Status::permission_denied(format!(
            "{what} needs the verb {verb} on {resource}.rescind.dev{object} {where_}; {} has not got it: ask for the role \
             {role}",
            caller.name
        ))
    }
}

/// What a call of the admin API may do.
#[derive(Clone)]
pub struct Gate(Option<Arc<dyn Access>>);

impl Gate {
    /// Lets whoever reaches the API do everything: a socket's mode, or a token of its own, has let them in.
    #[must_use]
    pub const fn open() -> Self {
        Self(None)
    }

    /// Asks for each call.
    #[must_use]
    pub fn asking(access: Arc<dyn Access>) -> Self {
        Self(Some(access))
    }

    /// Tells whether everybody may do everything.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Requires a right.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` with a sentence that names the role to ask for; `UNAUTHENTICATED` for a call without a caller.
    pub async fn require(&self, caller: Option<&Caller>, permission: &Permission) -> Result<(), Status> {
        let Some(access) = &self.0 else { return Ok(()) };
        let caller = caller.ok_or_else(|| Status::unauthenticated(SHOW))?;
        if access.may(caller, permission).await? { Ok(()) } else { Err(permission.refusal(caller)) }
    }
}

const SHOW: &str = "show a token of this cluster: Authorization: Bearer <token>";

/// Lets only calls through whose caller is known, and puts the [`Caller`] into their extensions.
pub(super) fn authenticated(routes: Routes, access: Arc<dyn Access>) -> Routes {
    Routes::from(routes.into_axum_router().layer(from_fn_with_state(access, authenticate)))
}

async fn authenticate(State(access): State<Arc<dyn Access>>, mut request: Request, next: Next) -> Response {
    let caller = match bearer::shown(request.headers()) {
        Some(token) => access.caller(token.to_owned()).await,
        None => Err(Status::unauthenticated(SHOW)),
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(status) => status.into_http::<axum::body::Body>().into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Invariant 24: much is not revoked or lifted with the right to do little.
    #[test]
    fn wide_targets_need_a_verb_of_their_own() {
        let list: ListName = "apps/shop".parse().unwrap();
        let verb = |selection: Selection| Permission::on_wide(&list, &selection).map(|needed| needed.verb);
        assert_eq!(verb(Selection::Everything), Some("revoke-issuer"));
        assert_eq!(verb(Selection::Key("k".to_owned())), Some("revoke-wide"));
        assert_eq!(verb(Selection::Client("web".to_owned())), Some("revoke-wide"));
        assert_eq!(verb(Selection::Subject("alice".to_owned())), None);
        let declared = Selection::Declared { name: "tenant".to_owned(), values: Vec::new() };
        assert_eq!(verb(declared), Some("revoke-wide"));
    }

    /// Invariant 24: doubt refuses.
    #[tokio::test]
    async fn a_call_without_a_caller_is_refused_where_rights_are_asked_for() {
        struct Everybody;
        impl Access for Everybody {
            fn caller(&self, _: String) -> BoxFuture<'_, Result<Caller, Status>> {
                Box::pin(async { Ok(Caller::default()) })
            }
            fn may<'a>(&'a self, _: &'a Caller, _: &'a Permission) -> BoxFuture<'a, Result<bool, Status>> {
                Box::pin(async { Ok(true) })
            }
        }
        let needed = Permission::on_revocations("create", Some("apps"));
        let refused = Gate::asking(Arc::new(Everybody)).require(None, &needed).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::Unauthenticated);
        assert!(Gate::open().require(None, &needed).await.is_ok());
    }
}
