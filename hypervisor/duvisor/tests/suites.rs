//! Programs that were not written for us: user-level suites as VU code, and bytes that are none.

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};

    /// What a run left: its exit code, standard output, standard error.
    #[derive(Debug, PartialEq, Eq)]
    struct Ran {
        code: Option<i32>,
        out: String,
        err: String,
    }

    fn run(guest: &Path, args: &[&str]) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_duvisor"))
            .arg("run")
            .arg(guest)
            .args(["--headless", "--warp", "--digest"])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ran { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// What of the output must not differ between two runs: everything but the host's times.
    fn digests(ran: &Ran) -> Vec<&str> {
        ran.out.lines().filter(|line| line.starts_with("digest of ")).collect()
    }

    fn images(dir: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let is_image = |path: &PathBuf| path.extension().is_some_and(|it| it == "elf");
        let mut found: Vec<PathBuf> = entries.filter(is_image).collect();
        found.sort();
        found
    }

    /// `None` if it passed, twice and in the same way.
    fn failure(path: &Path) -> Option<String> {
        let name = path.file_stem().unwrap().to_string_lossy();
        let limit = ["--max-steps", "100000000"];
        let (first, second) = (run(path, &limit), run(path, &limit));
        let passed = first.out.lines().any(|line| line.trim() == format!("PASS {name}"));
        if !passed || first.code != Some(0) {
            return Some(format!("{name}: {first:#?}"));
        }
        let (one, other) = (digests(&first), digests(&second));
        let same = one.len() == 2 && one == other;
        (!same).then(|| format!("{name}: digests {one:?} and {other:?}"))
    }

    /// The images of `guests/vu/build.sh`.
    #[test]
    #[expect(clippy::print_stderr, reason = "a test that was left out says so")]
    fn user_level_suites_pass_as_vu_code() {
        let Some(dir) = std::env::var_os("VU_TESTS") else {
            eprintln!(
                "LEFT OUT: riscv-tests as VU code, since VU_TESTS does not name their images"
            );
            return;
        };
        let images = images(Path::new(&dir));
        assert!(!images.is_empty(), "no images in {}", dir.display());
        let failures: Vec<String> = images.iter().filter_map(|path| failure(path)).collect();
        eprintln!("{} images, {} failures", images.len(), failures.len());
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    /// Bytes of a seed (xorshift64*).
    fn bytes_of(mut seed: u64, n: usize) -> Vec<u8> {
        let mut next = || {
            seed ^= seed >> 12;
            seed ^= seed << 25;
            seed ^= seed >> 27;
            seed.wrapping_mul(0x2545_f491_4f6c_dd1d)
        };
        (0..n / 8).flat_map(|_| next().to_le_bytes()).collect()
    }

    /// A Linux Image of these bytes, which begin 64 bytes after the header's two instructions.
    fn image_of(code: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 64];
        image[..4].copy_from_slice(&0x0400_006f_u32.to_le_bytes()); // j .+64
        image[8..16].copy_from_slice(&0x20_0000_u64.to_le_bytes()); // text_offset
        image[16..24].copy_from_slice(&(64 + code.len() as u64).to_le_bytes());
        image[48..56].copy_from_slice(b"RISCV\0\0\0");
        image[56..60].copy_from_slice(b"RSC\x05");
        [&image, code].concat()
    }

    #[test]
    fn bytes_that_are_no_program_end_in_a_failure_or_at_the_limit() {
        for seed in 1..=24 {
            let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("random-{seed}"));
            std::fs::write(&path, image_of(&bytes_of(seed, 0x4000))).unwrap();
            let ran = run(&path, &["--max-steps", "100000"]);
            assert!(matches!(ran.code, Some(0 | 1 | 124)), "seed {seed}: {ran:#?}");
            assert!(!ran.err.contains("panicked"), "seed {seed}: {ran:#?}");
            assert_eq!(digests(&ran).len(), 2, "seed {seed}: {ran:#?}");
        }
    }
}
