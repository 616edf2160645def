//! The way to a field, written both as Kubernetes writes it and as a JSON pointer.

use std::fmt::Write as _;

use crate::span::push_token;

/// A path, built on the way down and written out only when there is something to say.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Child(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(crate) const ROOT: Path<'static> = Path { parent: None, step: Step::Root };

    /// A member of the object here.
    pub(crate) const fn child<'b>(&'b self, name: &'b str) -> Path<'b>
    where
        'a: 'b,
    {
        Path { parent: Some(self), step: Step::Child(name) }
    }

    /// An item of the list here.
    pub(crate) const fn index(&self, index: usize) -> Path<'_> {
        Path { parent: Some(self), step: Step::Index(index) }
    }

    /// `spec.ingress[0].from`.
    pub(crate) fn field(&self) -> String {
        let mut out = self.parent.map(Path::field).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Child(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(name);
            }
            Step::Index(i) => {
                let _ = write!(out, "[{i}]");
            }
        }
        out
    }

    /// `spec.ingress.from`: as Go's decoder names the way to a field.
    pub(crate) fn members(&self) -> String {
        let mut out = self.parent.map(Path::members).unwrap_or_default();
        if let Step::Child(name) = self.step {
            if !out.is_empty() {
                out.push('.');
            }
            out.push_str(name);
        }
        out
    }

    /// `/spec/ingress/0/from`.
    pub(crate) fn pointer(&self) -> String {
        let mut out = self.parent.map(Path::pointer).unwrap_or_default();
        match self.step {
            Step::Root => {}
            Step::Child(name) => push_token(&mut out, name),
            Step::Index(i) => push_token(&mut out, &i.to_string()),
        }
        out
    }
}
