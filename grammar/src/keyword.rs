//! The one table of keywords.

/// A word of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyword {
    /// The word in capitals.
    pub text: &'static str,
    /// Whether it must be quoted to serve as a name.
    pub reserved: bool,
}

const fn reserved(text: &'static str) -> Keyword {
    Keyword { text, reserved: true }
}

const fn free(text: &'static str) -> Keyword {
    Keyword { text, reserved: false }
}

/// Every keyword, sorted.
pub const KEYWORDS: &[Keyword] = &[
    free("AFTER"),
    free("ALL"),
    free("ANALYZE"),
    reserved("AND"),
    reserved("AS"),
    free("ASC"),
    free("AT"),
    free("BACKGROUND"),
    free("BACKUP"),
    free("BEGIN"),
    free("BETWEEN"),
    reserved("BY"),
    free("CANCEL"),
    free("CODEBOOK"),
    free("CODEBOOKS"),
    free("COMMIT"),
    free("COMPACT"),
    free("COMPARE"),
    reserved("CONTAINS"),
    free("COPY"),
    free("CREATE"),
    free("DELETE"),
    free("DESC"),
    free("DESCRIBE"),
    free("DROP"),
    free("ENRICH"),
    free("EVALUATE"),
    free("EVALUATIONS"),
    free("EXPLAIN"),
    free("FAILURES"),
    reserved("FALSE"),
    free("FOR"),
    reserved("FROM"),
    free("GENERATION"),
    free("GENERATIONS"),
    reserved("GROUP"),
    free("IMAGE"),
    reserved("IN"),
    free("INDEX"),
    free("INDEXES"),
    free("INSERT"),
    free("INTO"),
    reserved("IS"),
    free("JOB"),
    free("JOBS"),
    free("KEEP"),
    free("KIND"),
    free("KINDS"),
    free("LABELS"),
    reserved("LIKE"),
    reserved("LIMIT"),
    free("MODEL"),
    free("MODELS"),
    reserved("NEAR"),
    reserved("NOT"),
    reserved("NULL"),
    reserved("OFFSET"),
    reserved("ON"),
    reserved("OR"),
    reserved("ORDER"),
    free("POLICIES"),
    free("POLICY"),
    free("PREFIX"),
    free("PROMPT"),
    free("PROMPTS"),
    free("PUBLISH"),
    free("REBUILD"),
    free("RECOMMEND"),
    free("RELATIONS"),
    free("RESUME"),
    free("REWARD"),
    free("ROLLBACK"),
    reserved("SELECT"),
    free("SET"),
    free("SETTINGS"),
    free("SHOW"),
    free("SPACE"),
    free("SPACES"),
    free("STALE"),
    free("TABLES"),
    free("TEXT"),
    free("TO"),
    free("TRAIN"),
    reserved("TRUE"),
    free("UNUSED"),
    free("UPDATE"),
    free("USER"),
    free("USERS"),
    reserved("USING"),
    free("VERIFY"),
    free("WAIT"),
    reserved("WHERE"),
    reserved("WITH"),
];

/// The keyword that a word is, in any case.
pub fn find(word: &str) -> Option<Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.text.eq_ignore_ascii_case(word)).copied()
}

/// Whether a word must be quoted to serve as a name.
pub fn is_reserved(word: &str) -> bool {
    find(word).is_some_and(|keyword| keyword.reserved)
}

#[cfg(test)]
mod tests {
    use super::KEYWORDS;

    #[test]
    fn the_table_is_sorted_and_in_capitals() {
        assert!(KEYWORDS.is_sorted_by(|a, b| a.text < b.text));
        assert!(KEYWORDS.iter().all(|keyword| keyword.text == keyword.text.to_uppercase()));
    }
}
