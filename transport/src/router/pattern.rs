//! Path patterns such as `/v2.6/agents/:id` and `/tile/*path`, and how paths match them.

use std::sync::Arc;

use super::percent;

/// A pattern, split at its slashes.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    segments: Vec<Segment>,
    slash: TrailingSlash,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Segment {
    /// Exactly this text.
    Literal(String),
    /// `:name`: any one segment.
    Any(Arc<str>),
    /// `*name`: one or more segments up to the end.
    Rest(Arc<str>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TrailingSlash {
    /// Collections, written `/agents` or `/agents/`, take one and go without.
    Tolerated,
    /// Members, written `/agents/:id`, do not.
    Refused,
}

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternFlaw {
    /// Two slashes with nothing between.
    #[error("has an empty segment")]
    EmptySegment,
    /// A `:` or `*` without a name, or one name twice.
    #[error("has a parameter without a name of its own")]
    Parameter,
    /// Something follows `*name`.
    #[error("goes on after '*'")]
    RestNotLast,
    /// Does not begin with a slash.
    #[error("does not begin with '/'")]
    Slash,
}

/// The values of a pattern's parameters in one request, in the pattern's order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(Arc<str>, String)>);

impl Params {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| &**known == name).map(|(_, value)| value.as_str())
    }
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, PatternFlaw> {
        let inner = text.strip_prefix('/').ok_or(PatternFlaw::Slash)?;
        if inner.is_empty() {
            return Ok(Self { segments: Vec::new(), slash: TrailingSlash::Refused });
        }
        let (inner, slashed) = match inner.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        let segments: Vec<_> = inner.split('/').map(Segment::parse).collect::<Result<_, _>>()?;
        check_parameters(&segments)?;
        let collection = slashed || matches!(segments.last(), Some(Segment::Literal(_)));
        let slash = if collection { TrailingSlash::Tolerated } else { TrailingSlash::Refused };
        Ok(Self { segments, slash })
    }

    /// Orders patterns so that of two that match one path the more exact comes first: at the
    /// first segment where they differ in kind, text beats `:name` beats `*name`.
    pub(super) fn rank(&self) -> Vec<u8> {
        self.segments.iter().map(Segment::rank).collect()
    }

    /// Whether the two match the same paths.
    pub(super) fn same_paths(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|(mine, theirs)| match (mine, theirs) {
                (Segment::Literal(mine), Segment::Literal(theirs)) => mine == theirs,
                _ => mine.rank() == theirs.rank(),
            })
    }

    /// The parameters' values if the pattern matches `path`.
    pub(super) fn matches(&self, path: &SplitPath) -> Option<Params> {
        if path.slashed && self.slash == TrailingSlash::Refused {
            return None;
        }
        let mut params = Params::default();
        let mut rest = path.segments.as_slice();
        for segment in &self.segments {
            let (first, after) = rest.split_first()?;
            rest = after;
            match segment {
                Segment::Literal(text) if text == first => {}
                Segment::Literal(_) => return None,
                Segment::Any(name) => params.0.push((Arc::clone(name), first.clone())),
                Segment::Rest(name) => {
                    let mut value = first.clone();
                    for more in after {
                        value.push('/');
                        value.push_str(more);
                    }
                    params.0.push((Arc::clone(name), value));
                    rest = &[];
                }
            }
        }
        rest.is_empty().then_some(params)
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, PatternFlaw> {
        let named = |name: &str| match name {
            "" => Err(PatternFlaw::Parameter),
            name => Ok(Arc::from(name)),
        };
        match text.split_at_checked(1) {
            None => Err(PatternFlaw::EmptySegment),
            Some((":", name)) => named(name).map(Self::Any),
            Some(("*", name)) => named(name).map(Self::Rest),
            Some(_) => Ok(Self::Literal(text.to_owned())),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Any(_) => 1,
            Self::Rest(_) => 2,
        }
    }
}

fn check_parameters(segments: &[Segment]) -> Result<(), PatternFlaw> {
    if segments.iter().rev().skip(1).any(|segment| matches!(segment, Segment::Rest(_))) {
        return Err(PatternFlaw::RestNotLast);
    }
    let mut names: Vec<_> = segments
        .iter()
        .filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Any(name) | Segment::Rest(name) => Some(name),
        })
        .collect();
    let all = names.len();
    names.sort();
    names.dedup();
    if names.len() == all { Ok(()) } else { Err(PatternFlaw::Parameter) }
}

/// A request's path: decoded segments, none of them empty, `.` or `..`, none holding a slash or a
/// control character, so that no handler meets a path that means another one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct SplitPath {
    segments: Vec<String>,
    slashed: bool,
}

/// Why a path is no path of ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PathFlaw {
    /// No route has such a path: two slashes in a row, or no leading slash.
    Unroutable,
    /// Escapes that decode to no text, or to a character that does not belong in a segment.
    Encoding,
}

impl SplitPath {
    pub(super) fn parse(path: &str) -> Result<Self, PathFlaw> {
        let inner = path.strip_prefix('/').ok_or(PathFlaw::Unroutable)?;
        if inner.is_empty() {
            return Ok(Self { segments: Vec::new(), slashed: false });
        }
        let (inner, slashed) = match inner.strip_suffix('/') {
            Some(inner) => (inner, true),
            None => (inner, false),
        };
        let segments = inner.split('/').map(decode_segment).collect::<Result<_, _>>()?;
        Ok(Self { segments, slashed })
    }
}

fn decode_segment(segment: &str) -> Result<String, PathFlaw> {
    if segment.is_empty() {
        return Err(PathFlaw::Unroutable);
    }
    let decoded = percent::decode(segment).ok_or(PathFlaw::Encoding)?;
    let alien = decoded.chars().any(|c| c == '/' || c.is_control());
    if alien || decoded == "." || decoded == ".." {
        return Err(PathFlaw::Encoding);
    }
    Ok(decoded)
}
