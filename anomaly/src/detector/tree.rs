//! A random cut tree: a sample of points, cut at random until each is alone
//! (Guha, Mishra, Roy, Schrijvers, ICML 2016). Points come and go one by one, and the tree is at any time one
//! that random cuts of its points could have made.

use crate::codec::{Reader, State, Writer};
use crate::error::{Error, Result};
use crate::random::Random;

/// No node.
const NONE: u16 = u16::MAX;

/// An inner node cuts, a leaf has points that are equal.
#[derive(Debug, Clone, PartialEq)]
struct Node {
    parent: u16,
    /// [`NONE`] for a leaf.
    left: u16,
    right: u16,
    /// The dimension of the cut.
    dimension: u16,
    cut: f32,
    /// Points below.
    mass: u16,
}

/// A tree over points of some dimensions.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tree {
    dimensions: usize,
    root: u16,
    nodes: Vec<Node>,
    free: Vec<u16>,
    /// Least and greatest of each dimension, per node; of a leaf its point.
    boxes: Vec<f32>,
}

impl Tree {
    /// An empty tree.
    pub(crate) fn new(dimensions: usize) -> Self {
        Self {
            dimensions,
            root: NONE,
            nodes: Vec::new(),
            free: Vec::new(),
            boxes: Vec::new(),
        }
    }

    /// Points in the tree.
    pub(crate) fn mass(&self) -> u16 {
        self.node(self.root).map_or(0, |node| node.mass)
    }

    fn node(&self, at: u16) -> Option<&Node> {
        self.nodes.get(usize::from(at))
    }

    fn node_mut(&mut self, at: u16) -> Option<&mut Node> {
        self.nodes.get_mut(usize::from(at))
    }

    fn bounds(&self, at: u16) -> (&[f32], &[f32]) {
        let start = usize::from(at) * 2 * self.dimensions;
        let both = self
            .boxes
            .get(start..start + 2 * self.dimensions)
            .unwrap_or_default();
        both.split_at(both.len() / 2)
    }

    fn is_leaf(&self, at: u16) -> bool {
        self.node(at).is_none_or(|node| node.left == NONE)
    }

    /// Whether a point is at a leaf.
    fn is_at(&self, leaf: u16, point: &[f32]) -> bool {
        self.bounds(leaf).0 == point
    }

    fn add_node(&mut self, node: Node) -> u16 {
        if let Some(at) = self.free.pop() {
            if let Some(place) = self.nodes.get_mut(usize::from(at)) {
                *place = node;
            }
            return at;
        }
        self.nodes.push(node);
        self.boxes
            .resize(self.nodes.len() * 2 * self.dimensions, 0.0);
        (self.nodes.len() - 1) as u16
    }

    fn set_bounds(&mut self, at: u16, with: impl Fn(usize) -> (f32, f32)) {
        let start = usize::from(at) * 2 * self.dimensions;
        for dimension in 0..self.dimensions {
            let (low, high) = with(dimension);
            if let Some(place) = self.boxes.get_mut(start + dimension) {
                *place = low;
            }
            if let Some(place) = self.boxes.get_mut(start + self.dimensions + dimension) {
                *place = high;
            }
        }
    }

    /// Makes room for so many points, exactly: the state of a key is counted in bytes.
    pub(crate) fn reserve(&mut self, points: usize) {
        self.nodes.reserve_exact(2 * points);
        self.boxes.reserve_exact(4 * points * self.dimensions);
        self.free.reserve_exact(8);
    }

    /// Adds a point and gives its leaf.
    pub(crate) fn insert(&mut self, point: &[f32], random: &mut Random) -> u16 {
        let leaf = Node {
            parent: NONE,
            left: NONE,
            right: NONE,
            dimension: 0,
            cut: 0.0,
            mass: 1,
        };
        let mut at = self.root;
        if at == NONE {
            self.root = self.add_node(leaf);
            self.set_bounds(self.root, |d| point.get(d).map_or((0.0, 0.0), |p| (*p, *p)));
            return self.root;
        }
        loop {
            if self.is_leaf(at) && self.is_at(at, point) {
                self.count(at, true);
                return at;
            }
            if let Some((dimension, cut)) = self.cut(at, point, random) {
                return self.split(at, point, dimension, cut);
            }
            let Some(node) = self.node(at) else { return at };
            let goes_left = point
                .get(usize::from(node.dimension))
                .is_some_and(|p| *p <= node.cut);
            at = if goes_left { node.left } else { node.right };
        }
    }

    /// A random cut of a node's box with the point, if it divides the two.
    fn cut(&self, at: u16, point: &[f32], random: &mut Random) -> Option<(u16, f32)> {
        let (lows, highs) = self.bounds(at);
        let all = || lows.iter().zip(highs).zip(point);
        let range: f64 = all()
            .map(|((low, high), p)| f64::from(high.max(*p)) - f64::from(low.min(*p)))
            .sum();
        let mut rest = random.share() * range;
        for (dimension, ((low, high), p)) in all().enumerate() {
            let (least, most) = (low.min(*p), high.max(*p));
            let width = f64::from(most) - f64::from(least);
            if rest >= width {
                rest -= width;
                continue;
            }
            let mut cut = (f64::from(least) + rest) as f32;
            // Rounded up to the upper end, a cut would have nothing on its right.
            if cut >= most {
                cut = least;
            }
            let divides = if *p < *low {
                *p <= cut && cut < *low
            } else {
                *p > *high && cut >= *high
            };
            return divides.then_some((dimension as u16, cut));
        }
        // The rest of rounding, or a leaf so near that no float is between: at a leaf it must be divided.
        if !self.is_leaf(at) {
            return None;
        }
        let differs = all().position(|((low, _), p)| low != p)?;
        let (low, p) = (lows.get(differs)?, point.get(differs)?);
        Some((differs as u16, low.min(*p)))
    }

    /// Puts a leaf beside a node, below a new parent that cuts them apart.
    fn split(&mut self, at: u16, point: &[f32], dimension: u16, cut: f32) -> u16 {
        let above = self.node(at).map_or(NONE, |node| node.parent);
        let mass = self.node(at).map_or(0, |node| node.mass);
        let leaf = self.add_node(Node {
            parent: NONE,
            left: NONE,
            right: NONE,
            dimension: 0,
            cut: 0.0,
            mass: 1,
        });
        self.set_bounds(leaf, |d| point.get(d).map_or((0.0, 0.0), |p| (*p, *p)));
        let goes_left = point.get(usize::from(dimension)).is_some_and(|p| *p <= cut);
        let (left, right) = if goes_left { (leaf, at) } else { (at, leaf) };
        let parent = self.add_node(Node {
            parent: above,
            left,
            right,
            dimension,
            cut,
            mass,
        });
        for child in [leaf, at] {
            if let Some(node) = self.node_mut(child) {
                node.parent = parent;
            }
        }
        self.replace(above, at, parent);
        self.join_bounds(parent);
        self.count(parent, true);
        leaf
    }

    /// Puts a node in the place of another below their parent.
    fn replace(&mut self, parent: u16, old: u16, new: u16) {
        match self.node_mut(parent) {
            None => self.root = new,
            Some(node) if node.left == old => node.left = new,
            Some(node) => node.right = new,
        }
    }

    /// Makes a node's box of those of its children.
    fn join_bounds(&mut self, at: u16) {
        let Some((left, right)) = self.node(at).map(|node| (node.left, node.right)) else {
            return;
        };
        let (one, other) = (self.bounds(left), self.bounds(right));
        let joined: Vec<(f32, f32)> = (0..self.dimensions)
            .map(|d| {
                let of = |side: &[f32]| side.get(d).copied().unwrap_or_default();
                (of(one.0).min(of(other.0)), of(one.1).max(of(other.1)))
            })
            .collect();
        self.set_bounds(at, |d| joined.get(d).copied().unwrap_or_default());
    }

    /// Counts a point more or less from a node up, and renews the boxes above it.
    fn count(&mut self, from: u16, more: bool) {
        let mut at = from;
        while let Some(node) = self.node_mut(at) {
            node.mass = if more {
                node.mass.saturating_add(1)
            } else {
                node.mass.saturating_sub(1)
            };
            let parent = node.parent;
            if node.left != NONE {
                self.join_bounds(at);
            }
            at = parent;
        }
    }

    /// Takes a point of a leaf away.
    pub(crate) fn remove(&mut self, leaf: u16) {
        let Some(node) = self.node(leaf) else { return };
        if node.mass > 1 {
            self.count(leaf, false);
            return;
        }
        let parent = node.parent;
        self.free.push(leaf);
        let Some(above) = self.node(parent).cloned() else {
            self.root = NONE;
            return;
        };
        let sibling = if above.left == leaf {
            above.right
        } else {
            above.left
        };
        self.free.push(parent);
        self.replace(above.parent, parent, sibling);
        if let Some(node) = self.node_mut(sibling) {
            node.parent = above.parent;
        }
        self.count(above.parent, false);
    }

    /// Whether each node is below its parent once, so that walks up and down come to an end.
    fn check(&self) -> Result<()> {
        let mut open = vec![(self.root, NONE)];
        let mut seen = 0;
        while let Some((at, parent)) = open.pop() {
            let Some(node) = self.node(at) else { continue };
            seen += 1;
            if node.parent != parent || seen > self.nodes.len() {
                return Err(Error::Damaged("a tree is none"));
            }
            open.extend([(node.left, at), (node.right, at)]);
        }
        Ok(())
    }

    /// How far out a point is: the expected inverse depth at which random cuts would divide it from the sample.
    /// What each dimension has of it is added to `shares`, those above the box and below it apart.
    pub(crate) fn score(&self, point: &[f32], shares: &mut [[f64; 2]]) -> f64 {
        let (mut at, mut depth) = (self.root, 0.0);
        let (mut score, mut left) = (0.0, 1.0);
        while let Some(node) = self.node(at) {
            let (lows, highs) = self.bounds(at);
            let (mut range, mut outside) = (0.0, 0.0);
            for ((low, high), p) in lows.iter().zip(highs).zip(point) {
                let beyond = f64::from((p - high).max(low - p).max(0.0));
                outside += beyond;
                range += f64::from(high - low) + beyond;
            }
            let is_leaf = node.left == NONE;
            if outside > 0.0 {
                // At a leaf any cut divides what differs.
                let p = if is_leaf { 1.0 } else { outside / range };
                let part = left * p / (depth + 1.0);
                score += part;
                for (((low, high), p), share) in lows.iter().zip(highs).zip(point).zip(&mut *shares)
                {
                    share[0] += part * f64::from((p - high).max(0.0)) / outside;
                    share[1] += part * f64::from((low - p).max(0.0)) / outside;
                }
                left *= 1.0 - p;
            } else if is_leaf {
                score += left / (depth + (1.0 + f64::from(node.mass)).log2());
                break;
            }
            if is_leaf || left <= 0.0 {
                break;
            }
            depth += 1.0;
            let goes_left = point
                .get(usize::from(node.dimension))
                .is_some_and(|p| *p <= node.cut);
            at = if goes_left { node.left } else { node.right };
        }
        score * (1.0 + f64::from(self.mass())).log2()
    }
}

impl State for Tree {
    fn save(&self, to: &mut Writer) {
        to.u16(self.root);
        to.length(self.nodes.len());
        for node in &self.nodes {
            for part in [
                node.parent,
                node.left,
                node.right,
                node.dimension,
                node.mass,
            ] {
                to.u16(part);
            }
            to.f32(node.cut);
        }
        to.length(self.free.len());
        self.free.iter().for_each(|at| to.u16(*at));
        to.f32s(&self.boxes);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        let most = usize::from(NONE) - 1;
        self.root = from.u16()?;
        let count = from.length(most)?;
        self.nodes.clear();
        for _ in 0..count {
            let (parent, left, right) = (from.u16()?, from.u16()?, from.u16()?);
            let (dimension, mass) = (from.u16()?, from.u16()?);
            let cut = from.f32()?;
            // Children stand behind no end of the list, or walking down would stop at once.
            let known = |at: u16| at == NONE || usize::from(at) < count;
            if ![parent, left, right].into_iter().all(known) || (left == NONE) != (right == NONE) {
                return Err(Error::Damaged("a tree has a branch to nowhere"));
            }
            self.nodes.push(Node {
                parent,
                left,
                right,
                dimension,
                cut,
                mass,
            });
        }
        let free = from.length(count)?;
        self.free = (0..free).map(|_| from.u16()).collect::<Result<_>>()?;
        self.boxes = from.f32s(count * 2 * self.dimensions)?;
        if self.boxes.len() != count * 2 * self.dimensions {
            return Err(Error::Damaged("a tree lacks its boxes"));
        }
        self.check()
    }

    fn heap_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.free.capacity() * size_of::<u16>()
            + self.boxes.capacity() * size_of::<f32>()
    }
}
