pub mod revocation;
pub mod token_revocation_list;
