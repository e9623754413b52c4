//! Vectors that NumPy saved come in as they are.

use std::fmt::Write as _;

use half::f16;
use sidql::Database;

use crate::support::toy::{first_column, rows, run, shop};

/// A file as `numpy.save` writes it.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

/// The vectors of items `g0i0` to `g5i9` of the shop, by their places.
fn vector(at: usize) -> [f32; 4] {
    [at as f32, 0.5, -(at as f32) / 4.0, 1.0]
}

struct Files {
    folder: tempfile::TempDir,
    db: Database,
}

impl Files {
    fn new() -> Files {
        let (db, folder) = shop();
        Files { folder, db }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.folder.path().join(name), bytes).unwrap();
    }

    fn copy(&self, name: &str, space: &str) -> Result<sidql::Outcome, sidql::Error> {
        let text = "WITH (space = $space, ids = $ids)";
        let params = sidql::Params::default()
            .set("file", self.path(name))
            .set("space", space)
            .set("ids", self.path("ids.txt"));
        self.db.execute(&format!("COPY embeddings FROM $file {text}"), params)
    }
}

#[test]
fn floats_of_every_width_are_the_same_vectors() {
    let files = Files::new();
    // Not in the order of the catalogue.
    let order: Vec<usize> = (0..60).rev().collect();
    let ids = order.iter().fold(String::new(), |mut text, at| {
        writeln!(text, "g{}i{}", at / 10, at % 10).unwrap();
        text
    });
    files.write("ids.txt", ids.as_bytes());
    let all = || order.iter().flat_map(|at| vector(*at));
    let halves: Vec<u8> = all().flat_map(|x| f16::from_f32(x).to_le_bytes()).collect();
    let singles: Vec<u8> = all().flat_map(f32::to_le_bytes).collect();
    let doubles: Vec<u8> = all().flat_map(|x| f64::from(x).to_le_bytes()).collect();
    for (descr, data) in [("<f2", &halves), ("<f4", &singles), ("<f8", &doubles)] {
        let space = format!("s{}", &descr[2..]);
        files.write("v.npy", &npy(descr, "(60, 4)", data));
        files.copy("v.npy", &space).unwrap();
        let text = format!("SELECT embedding('{space}') FROM items WHERE id = 'g3i7'");
        let found = rows(&files.db, &text);
        assert_eq!(found.rows[0][0], vector(37).to_vec().into(), "{descr}");
        let told = rows(&files.db, &format!("SELECT provenance({space}) FROM items LIMIT 1"));
        assert!(
            told.rows[0][0].to_string().contains(r#""model":"v.npy","kind":"file""#),
            "{told:?}"
        );
    }
    let near = rows(&files.db, "SELECT id FROM items NEAR 'g3i7' IN s4 LIMIT 2");
    assert_eq!(near.len(), 2);
    run(&files.db, "CREATE CODEBOOK own USING rq_kmeans ON s4 WITH (levels = 2, codes = 4)");
    run(&files.db, "REBUILD CODEBOOK own");
    let coded = rows(&files.db, "SELECT count(*) FROM items WHERE sid IS NOT NULL");
    assert_eq!(first_column(&coded), ["60"]);
}

#[test]
fn files_that_do_not_belong_together_leave_nothing() {
    let files = Files::new();
    let data: Vec<u8> = (0..3).flat_map(vector).flat_map(f32::to_le_bytes).collect();
    files.write("v.npy", &npy("<f4", "(3, 4)", &data));
    let nan: Vec<u8> = [f32::NAN; 4].iter().flat_map(|x| x.to_le_bytes()).collect();
    files.write("nan.npy", &npy("<f4", "(1, 4)", &nan));
    files.write("short.npy", &npy("<f4", "(4, 4)", &data));
    files.write("not.npy", b"id,vector\n");
    let cases = [
        ("g0i0\ng0i1\n", "v.npy", "too-few-ids"),
        ("g0i0\ng0i1\ng0i2\ng0i3\n", "v.npy", "too-many-ids"),
        ("g0i0\ng0i1\ng0i0\n", "v.npy", "duplicate-id"),
        ("g0i0\n", "nan.npy", "bad-vector"),
        ("g0i0\ng0i1\ng0i2\ng0i3\n", "short.npy", "bad-record"),
        ("g0i0\n", "not.npy", "bad-record"),
        ("x\ny\nz\n", "v.npy", "no-embeddings"),
    ];
    for (ids, file, code) in cases {
        files.write("ids.txt", ids.as_bytes());
        let error = files.copy(file, "s").expect_err(file);
        assert_eq!(error.code(), code, "{error}");
        assert!(rows(&files.db, "SELECT name FROM spaces").is_empty(), "{code}");
    }
    files.write("ids.txt", b"g0i0\ng0i1\ng0i2\n");
    files.copy("v.npy", "s").unwrap();
    files.write("narrow.npy", &npy("<f4", "(3, 2)", &data[..24]));
    let error = files.copy("narrow.npy", "s").unwrap_err();
    assert!(error.code() == "wrong-dimension" && error.help_text().is_some(), "{error}");
}
