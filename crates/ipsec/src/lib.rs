//! Traffic selectors, identities, proposals and SA records: the vocabulary of RFC 4301.
