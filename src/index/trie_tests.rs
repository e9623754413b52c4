//! The trie against naive maps.
