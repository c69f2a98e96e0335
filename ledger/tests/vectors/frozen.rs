//! The frame of every test of frozen vectors, here and in the crates that build on this one: a file of lines, each a name
//! and the bytes of one encoding in hexadecimal.

use std::collections::BTreeMap;

/// The names and bytes of a file.
pub fn read(file: &str) -> BTreeMap<&str, Vec<u8>> {
    file.lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (name, hex) = line.split_once(' ').unwrap();
            let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes());
            (name, bytes.unwrap())
        })
        .collect()
}

/// Fails unless what is made now is what a file says, and all that it says. The lines to add are in the failure.
pub fn check(file: &str, made: &[(String, Vec<u8>)]) {
    let frozen = read(file);
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let mut wrong = String::new();
    for (name, bytes) in made {
        let now = hex(bytes);
        match frozen.get(name.as_str()) {
            Some(due) if due == bytes => {}
            Some(due) => {
                wrong += &format!("{name} is\n{now}\nand was released as\n{}\n", hex(due));
            }
            None => wrong += &format!("{name} {now}\n"),
        }
    }
    for name in frozen.keys() {
        if !made.iter().any(|(made, _)| made == name) {
            wrong += &format!("{name} is frozen, and no longer made\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
