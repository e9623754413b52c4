//! The build script that tools/cuda/build.sh gives a copy of candle-kernels: it compiles the kernels that are loaded as PTX, and
//! leaves out those for quantized weights and mixtures of experts, which take most of the time and of the space and are not
//! used here. Their names must be known to the linker all the same: each is a function that ends the program.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

fn main() -> cudaforge::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src");
    let out = env::var("OUT_DIR").expect("cargo gives it");
    let out = Path::new(&out);
    cudaforge::KernelBuilder::new()
        .source_dir("src")
        .exclude(&["moe_*.cu", "mmvq_gguf.cu", "mmq_*.cu"])
        .arg("--expt-relaxed-constexpr")
        .arg("-std=c++17")
        .arg("-O3")
        .build_ptx()?
        .write(&out.join("ptx.rs"))?;

    let declared = fs::read_to_string("src/ffi.rs").expect("the crate has it");
    let mut absent = String::from("#include <stdio.h>\n#include <stdlib.h>\n");
    for line in declared.lines() {
        if let Some((name, _)) =
            line.trim().strip_prefix("pub fn ").and_then(|rest| rest.split_once('('))
        {
            absent += &format!(
                "void {name}(void) {{ fputs(\"this build has no CUDA kernel {name}\\n\", stderr); abort(); }}\n"
            );
        }
    }
    let (source, object) = (out.join("absent.c"), out.join("absent.o"));
    fs::write(&source, absent).expect("cargo's folder can be written");
    run(Command::new("cc").args(["-O1", "-fPIC", "-c"]).arg(&source).arg("-o").arg(&object));
    run(Command::new("ar").arg("crs").arg(out.join("libabsent.a")).arg(&object));
    println!("cargo::rustc-link-search=native={}", out.display());
    println!("cargo::rustc-link-lib=static=absent");
    Ok(())
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
