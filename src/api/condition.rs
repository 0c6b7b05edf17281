//! The words of statuses and events that people and programs compare: `docs/reference/annotations.md` has each of them.

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $word:ident,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $word,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$word,)+];

            /// Returns the word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$word => stringify!($word),)+ }
            }
        }

        impl PartialEq<$name> for String {
            fn eq(&self, other: &$name) -> bool {
                self == other.word()
            }
        }
    };
}

words! {
    /// The types of conditions.
    ConditionType {
        /// Of a revocation: it has an effect.
        Accepted,
        /// Of a revocation: no sidecar allows any more what it denies.
        Enforced,
        /// Of a revocation: no token is left that it could deny.
        Expired,
        /// The sum of the others.
        Ready,
        /// Of a list: much of it went at once.
        LargeShareGone,
        /// Of a list: its namespace's quota is nearly used up.
        NearQuota,
        /// Of a list: the store has lost revocations that nobody has lifted.
        StoreDeleted,
        /// Of a list: the store was found to be an older copy of itself.
        StoreWentBack,
    }
}

words! {
    /// The reasons of conditions.
    ConditionReason {
        /// No controller has looked.
        Pending,
        /// The list declares what the revocation needs.
        Declared,
        /// It is accepted, and may not reach every token.
        MayNotReach,
        /// The list does not declare what the revocation needs.
        Undeclared,
        /// There is no such list.
        UnknownList,
        /// It, or one of the list's revocations, can't be read.
        Unreadable,
        /// What is not accepted is not enforced.
        NotAccepted,
        /// Sidecars are about to apply it.
        Applying,
        /// Every sidecar has it in use, or is away.
        AllApplied,
        /// Who has not applied it is too old to allow anything.
        BoundIsOver,
        /// The last token that it could deny has expired.
        NothingLeftToDeny,
        /// The declaration can't be used.
        Invalid,
        /// The controller has not published the list yet.
        NotPublished,
        /// Sidecars can follow the list.
        Published,
        /// What held the list's revocations is gone.
        StoreDeleted,
        /// Of `LargeShareGone`.
        LiftedOrExpired,
        /// Of `NearQuota`.
        QuotaNearlyUsedUp,
        /// Of `StoreDeleted`.
        DefinitionGone,
        /// Of `StoreDeleted`.
        NamespaceGone,
        /// Of `StoreDeleted`.
        RevocationsLost,
        /// Of `StoreWentBack`.
        OlderCopy,
    }
}

words! {
    /// The reasons of conditions in what a command answers of an embedded store, which has no statuses.
    AnswerReason {
        /// Of `Accepted`: it is on the disk.
        Stored,
        /// Every sidecar has it in use, or allows nothing any more.
        Applied,
        /// The time to wait was over before.
        Waiting,
        /// The controller could not be asked whether it is enforced.
        NotTold,
        /// It will not be enforced any more.
        Over,
        /// The command was not to wait.
        NotAwaited,
    }
}

words! {
    /// The reasons of events.
    EventReason {
        /// A revocation is enforced.
        Enforced,
        /// A revocation has no effect.
        Refused,
        /// The condition of that name has come.
        LargeShareGone,
        /// The condition of that name has come.
        NearQuota,
        /// The condition of that name has come.
        StoreDeleted,
        /// The condition of that name has come.
        StoreWentBack,
        /// A revocation of the list can't be read.
        Unreadable,
        /// A replica with sidecars of the list proves nothing any more.
        StaleReplica,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_its_name_and_is_compared_as_text() {
        assert_eq!(ConditionType::ALL.first().map(|word| word.word()), Some("Accepted"));
        assert!("Ready".to_owned() == ConditionType::Ready && "Ready".to_owned() != ConditionType::Expired);
    }
}
