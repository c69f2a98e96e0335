//! Reads SPDX licence expressions as crates state them.
//!
//! Grammar: `or := and (("OR" | "/") and)*`, `and := term ("AND" term)*`, `term := "(" or ")" | name ["WITH" name]`.
//! The slash is the form cargo accepted before SPDX.

/// Whether `expression` lets us use the crate when only the licences in `allowed` are acceptable.
///
/// `OR` needs one side, `AND` both. A licence with an exception is looked up as `NAME WITH EXCEPTION`. What does not
/// parse is not permitted.
#[must_use]
pub fn permits(expression: &str, allowed: &[&str]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut reader = Reader {
        tokens: spaced.split_whitespace().collect(),
        at: 0,
        allowed,
    };
    let verdict = reader.any();
    verdict == Some(true) && reader.at == reader.tokens.len()
}

struct Reader<'a> {
    tokens: Vec<&'a str>,
    at: usize,
    allowed: &'a [&'a str],
}

impl Reader<'_> {
    fn any(&mut self) -> Option<bool> {
        let mut verdict = self.all()?;
        while self.take("OR") {
            verdict |= self.all()?;
        }
        Some(verdict)
    }

    fn all(&mut self) -> Option<bool> {
        let mut verdict = self.term()?;
        while self.take("AND") {
            verdict &= self.term()?;
        }
        Some(verdict)
    }

    fn term(&mut self) -> Option<bool> {
        if self.take("(") {
            let verdict = self.any()?;
            return self.take(")").then_some(verdict);
        }
        let mut name = (*self.tokens.get(self.at)?).to_owned();
        self.at += 1;
        if self.take("WITH") {
            name = format!("{name} WITH {}", self.tokens.get(self.at)?);
            self.at += 1;
        }
        Some(self.allowed.contains(&name.as_str()))
    }

    fn take(&mut self, token: &str) -> bool {
        let found = self.tokens.get(self.at) == Some(&token);
        self.at += usize::from(found);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::permits;

    const ALLOWED: &[&str] = &[
        "MIT",
        "Apache-2.0",
        "Apache-2.0 WITH LLVM-exception",
        "Unicode-3.0",
    ];

    #[test]
    fn one_allowed_alternative_is_enough() {
        assert!(permits("GPL-3.0 OR MIT", ALLOWED));
        assert!(permits("Unlicense/MIT", ALLOWED));
        assert!(permits(
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
            ALLOWED
        ));
    }

    #[test]
    fn every_part_of_a_conjunction_must_be_allowed() {
        assert!(permits("(MIT OR GPL-3.0) AND Unicode-3.0", ALLOWED));
        assert!(!permits("MIT AND GPL-3.0", ALLOWED));
        assert!(!permits("(MIT OR Apache-2.0) AND BSD-3-Clause", ALLOWED));
    }

    #[test]
    fn an_exception_is_part_of_the_name() {
        assert!(!permits("MIT WITH Classpath-exception-2.0", ALLOWED));
    }

    #[test]
    fn what_does_not_parse_is_not_permitted() {
        for broken in ["", "MIT OR", "(MIT", "MIT)", "MIT Apache-2.0", "MIT WITH"] {
            assert!(!permits(broken, ALLOWED), "{broken:?} was permitted");
        }
    }
}
