//! Registries: a file that defines a member is listed by its folder.

use crate::Complaint;
use crate::blank::places;
use crate::tree::Source;

/// Files of the engine that define `KIND` while the `mod.rs` of their folder does not list it.
pub(crate) fn unlisted(sources: &[Source]) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for source in sources.iter().filter(|source| source.path.starts_with("src/")) {
        let Some(at) = places(&source.code, "const KIND").next() else { continue };
        let Some((folder, member)) = home(&source.path) else { continue };
        let registry = format!("{folder}/mod.rs");
        let entry = format!("{member}::KIND");
        let listed = sources
            .iter()
            .find(|other| other.path == registry)
            .is_some_and(|other| places(&other.code, &entry).next().is_some());
        if !listed {
            let message = format!("defines a KIND that {registry} does not list: add `&{entry},`");
            complaints.push(Complaint::at(source, at, message));
        }
    }
    complaints
}

/// The folder of a member and the member's name; none for the registry itself.
fn home(path: &str) -> Option<(&str, &str)> {
    let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let (folder, member) = stem.rsplit_once('/')?;
    // `src/policy/mod.rs` is a registry, `src/policy/decoder/mod.rs` a member.
    (folder != "src").then_some((folder, member))
}
