//! One list of a stream: what the sidecar has of it, and what it is to be sent next.

use crate::proto::v1;
use crate::proto::v1::publisher_message::Message as Out;
use crate::revocation::digest::Digest;
use crate::revocation::key::HashKey;
use crate::revocation::names::ListName;
use crate::revocation::version::Version;

use crate::distribution::admission::Admission;
use crate::distribution::convert::{Proof, proof_to_wire};
use crate::distribution::frame::{Frame, Shared};
use crate::distribution::publisher::{ListPublisher, Plan, Standing};

#[derive(Debug)]
pub(super) struct Following {
    pub(super) reference: u32,
    pub(super) list: ListName,
    pub(super) admission: Admission,
    /// Whether the sidecar knows that it may not have it.
    pub(super) told: bool,
    /// What the sidecar says that it holds, until it is decided what that is worth.
    pub(super) held: Option<(Version, Digest)>,
    /// The serial number of pings when it subscribed, or was admitted later and was counted: a proof above it is newer, and
    /// no other vouches for it.
    pub(super) subscribed_at: u64,
    /// The highest version that it may have held: a snapshot must not be below.
    pub(super) floor: Option<Version>,
    /// What it has after everything that was sent.
    pub(super) position: Option<Version>,
    /// What was proven to it last: with its position it holds all up to here.
    pub(super) proven: Option<Version>,
    /// What it had after everything that was sent before the first proof.
    pub(super) sent_before_proof: Option<Version>,
    pub(super) acknowledged: Option<Version>,
    /// The declaration that was sent: its generation, and the key of the hashes that came with it.
    pub(super) declared: Option<(u64, HashKey)>,
    pub(super) nacks: u32,
    /// How many declarations it refused; a snapshot that it takes does not make up for them.
    pub(super) config_nacks: u32,
    pub(super) behind: Behind,
}

/// Whether the sidecar has seen more than this replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    No,
    Told,
}

impl Following {
    /// Takes a decision. Returns what was decided before, if it is another. A list that is admitted no more is forgotten, but
    /// not how high the sidecar may be: admitted again, it gets a snapshot.
    pub(super) fn decide(&mut self, admission: &Admission, serial: u64) -> Option<Admission> {
        if self.admission == *admission || *admission == Admission::Pending {
            return None;
        }
        let was = std::mem::replace(&mut self.admission, admission.clone());
        self.told = false;
        match (&was, admission) {
            (_, Admission::Admitted) => self.subscribed_at = serial,
            (Admission::Admitted, _) => self.start_over(),
            _ => {}
        }
        Some(was)
    }

    /// Says once that nothing comes of this list.
    pub(super) fn tell_not_admitted(&mut self) -> Option<Frame> {
        let (reason, why) = match &self.admission {
            Admission::Refused { why } => (v1::NotAdmittedReason::NotAllowed, why),
            Admission::Unknown { why } => (v1::NotAdmittedReason::Unavailable, why),
            Admission::Admitted | Admission::Pending => return None,
        };
        let detail = (!std::mem::replace(&mut self.told, true)).then(|| why.clone())?;
        let message = v1::NotAdmitted { r#ref: self.reference, reason: reason.into(), detail };
        Some(own(Out::NotAdmitted(message)))
    }

    /// Returns the versions that the sidecar says it has.
    pub(super) fn may_hold(&self) -> impl Iterator<Item = Version> {
        self.held.map(|(version, _)| version).into_iter().chain(self.floor)
    }

    /// Forgets what was sent: the sidecar gets all of it again, and nothing below what it may have.
    pub(super) fn start_over(&mut self) {
        let seen = [self.position.take(), self.proven.take(), self.floor];
        self.floor = seen.into_iter().flatten().reduce(|a, b| if b > a { b } else { a });
        (self.acknowledged, self.held, self.declared, self.sent_before_proof) = (None, None, None, None);
    }

    /// Adds what leads to the last change; returns where the list stands if the sidecar will stand there too. A
    /// replica below what the sidecar may hold has nothing for it.
    pub(super) fn catch_up(
        &mut self,
        publisher: &mut ListPublisher,
        proven: u64,
        frames: &mut Vec<Frame>,
    ) -> Option<Standing> {
        let declared = (publisher.config().generation, *publisher.state().hash_key());
        // Declared anew it counts its generations from one again, and versions that were sent are of another list.
        if self.declared.is_some_and(|(_, hash_key)| hash_key != declared.1) {
            self.start_over();
        }
        if self.position.is_none() {
            let complete = publisher.standing().complete;
            let reached =
                |version: Version| complete >= version || complete.epoch.counter > version.epoch.counter;
            if !self.may_hold().all(reached) {
                self.tell_behind(proven, frames);
                return None;
            }
            if let Some((version, digest)) = self.held.take() {
                self.resume(publisher, version, digest, frames);
            }
        }
        if self.declared != Some(declared) {
            self.declared = Some(declared);
            frames
                .push(Frame::Shared { reference: self.reference, message: publisher.config().frame.clone() });
        }
        while let Plan::Send { frames: shared, reaches } = publisher.plan(self.position, self.floor) {
            self.send(&shared, reaches, frames);
        }
        // Its name for the state may be another than ours, at or above the last change.
        self.position.map(|position| Standing { last_change: position, ..publisher.standing() })
    }

    fn resume(
        &mut self,
        publisher: &ListPublisher,
        version: Version,
        digest: Digest,
        frames: &mut Vec<Frame>,
    ) {
        let Some(plan) = publisher.resume(version, digest) else { return };
        self.acknowledged = Some(version);
        self.position = Some(version);
        if let Plan::Send { frames: bridge, reaches } = plan {
            self.send(&bridge, reaches, frames);
        }
    }

    fn send(&mut self, shared: &[Shared], reaches: Version, frames: &mut Vec<Frame>) {
        let reference = self.reference;
        frames.extend(shared.iter().map(|message| Frame::Shared { reference, message: message.clone() }));
        self.position = Some(reaches);
    }

    /// A replica that has not seen what the sidecar has may only be late: a proof that began after the
    /// subscription decides.
    fn tell_behind(&mut self, proven: u64, frames: &mut Vec<Frame>) {
        if proven > self.subscribed_at && self.behind == Behind::No {
            self.behind = Behind::Told;
            frames.push(own(Out::Behind(v1::Behind { r#ref: self.reference })));
        }
    }
}

pub(super) fn own(message: Out) -> Frame {
    Frame::Own(Box::new(v1::PublisherMessage { message: Some(message) }))
}

pub(super) fn proof(reference: u32, standing: &Standing, publisher: &ListPublisher) -> v1::ListProof {
    let proof = Proof {
        complete: publisher.seal(standing.complete),
        last_change: publisher.seal(standing.last_change),
        digest: standing.digest,
        config_generation: standing.config_generation,
        horizon: standing.horizon,
    };
    proof_to_wire(reference, &proof)
}
