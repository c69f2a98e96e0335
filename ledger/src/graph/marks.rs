//! Watermarks: how many events of each lane lie in the past of an event, as persistent 8-ary trees in one arena.
//!
//! Nodes are never changed, only appended, and an event's tree shares with those of its parents whatever they agree in: a
//! few nodes of 32 bytes an event, where a list would have 4 bytes a lane. What was appended last is cut off first, so
//! taking back the newest events gives their nodes back too.

/// Children of a node, or counts in a leaf.
const FAN: usize = 8;
const BITS: u32 = 3;
/// The node that is all zero: a leaf that counts nothing, and an inner node of such ones.
const NOTHING: u32 = 0;

/// A tree's root and how many levels lie below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Root {
    node: u32,
    height: u8,
}

impl Root {
    pub(super) const EMPTY: Self = Self {
        node: NOTHING,
        height: 0,
    };

    /// What [`Self::node`] and [`Self::height`] said: kept apart they take less room.
    pub(super) fn of(node: u32, height: u8) -> Self {
        Self { node, height }
    }

    pub(super) fn node(self) -> u32 {
        self.node
    }

    pub(super) fn height(self) -> u8 {
        self.height
    }
}

/// What one parent knows: a tree, and so many of a lane, which is no news if it is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) root: Root,
    pub(super) lane: u32,
    pub(super) count: u32,
}

/// The arena.
pub(super) struct Marks {
    nodes: Vec<[u32; FAN]>,
}

impl Default for Marks {
    fn default() -> Self {
        Self {
            nodes: vec![[0; FAN]],
        }
    }
}

impl Marks {
    /// How many nodes there are, to be cut back to.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// How many bytes its nodes take.
    pub(super) fn bytes(&self) -> usize {
        self.nodes.len() * size_of::<[u32; FAN]>()
    }

    /// Gives back all nodes behind the first `len`, of which no tree is left.
    pub(super) fn truncate(&mut self, len: usize) {
        self.nodes.truncate(len.max(1));
    }

    /// The count of a lane.
    pub(super) fn count(&self, root: Root, lane: u32) -> u32 {
        if lane
            .checked_shr(BITS * (u32::from(root.height) + 1))
            .unwrap_or(0)
            != 0
        {
            return 0;
        }
        let mut node = root.node;
        for level in (0..=u32::from(root.height)).rev() {
            node = self.nodes[node as usize][slot(lane, level)];
        }
        node
    }

    /// A tree that counts what any of these counts, and of each so many of a lane. Whatever of it is there already is shared;
    /// nothing is made that the tree does not need.
    pub(super) fn past(&mut self, of: &[Known]) -> Root {
        let raises = |known: &&Known| known.count > 0;
        let tall = |known: &Known| height_for(known.lane);
        let heights = of.iter().filter(raises).map(tall);
        let heights = heights.chain(of.iter().map(|known| known.root.height));
        let height = heights.max().unwrap_or(0);
        let mut trees: Vec<Root> = of.iter().map(|known| known.root).collect();
        trees.retain(|root| root.node != NOTHING);
        trees.sort_unstable();
        trees.dedup();
        let raised = of.iter().filter(raises);
        let mut raised: Vec<(u32, u32)> = raised.map(|known| (known.lane, known.count)).collect();
        raised.sort_unstable();
        Root {
            node: self.merge(height, &trees, &raised),
            height,
        }
    }

    /// The node of a level that counts what those trees do, and no less than that of those lanes, which all lie below it.
    fn merge(&mut self, level: u8, trees: &[Root], raised: &[(u32, u32)]) -> u32 {
        match trees {
            [] if raised.is_empty() => return NOTHING,
            [one] if raised.is_empty() && one.height == level => return one.node,
            _ => {}
        }
        let mut merged = [NOTHING; FAN];
        let mut rest = raised;
        for (at, below) in merged.iter_mut().enumerate() {
            let here = rest.partition_point(|(lane, _)| slot(*lane, u32::from(level)) == at);
            let (mine, others) = rest.split_at(here);
            rest = others;
            if level == 0 {
                let counts = trees.iter().map(|tree| self.nodes[tree.node as usize][at]);
                let counts = counts.chain(mine.iter().map(|(_, count)| *count));
                *below = counts.max().unwrap_or(0);
                continue;
            }
            // Mostly all agree in what lies below, or one knows something of it and the others nothing.
            let (mut first, mut all) = (Root::EMPTY, Vec::new());
            for tree in trees {
                let root = if tree.height == level {
                    let node = self.nodes[tree.node as usize][at];
                    let height = level - 1;
                    Root { node, height }
                } else if at == 0 {
                    *tree
                } else {
                    continue;
                };
                if root.node == NOTHING || root == first || all.contains(&root) {
                    continue;
                }
                if first.node == NOTHING {
                    first = root;
                    continue;
                }
                if all.is_empty() {
                    all.push(first);
                }
                all.push(root);
            }
            *below = match (all.is_empty(), first.node) {
                (false, _) => self.merge(level - 1, &all, mine),
                (true, NOTHING) => self.merge(level - 1, &[], mine),
                (true, _) => self.merge(level - 1, &[first], mine),
            };
        }
        let same = |tree: &&Root| tree.height == level && self.nodes[tree.node as usize] == merged;
        match trees.iter().find(same) {
            Some(tree) => tree.node,
            None => self.append(merged),
        }
    }

    /// Raises a list by what a tree counts.
    pub(super) fn spread(&self, root: Root, list: &mut Vec<u32>) {
        self.spread_node(root.node, root.height, 0, list);
    }

    fn spread_node(&self, node: u32, level: u8, first: usize, list: &mut Vec<u32>) {
        if node == NOTHING {
            return;
        }
        for (at, below) in self.nodes[node as usize].iter().enumerate() {
            let lane = first + (at << (BITS * u32::from(level)));
            if level > 0 {
                self.spread_node(*below, level - 1, lane, list);
            } else if *below > 0 {
                if list.len() <= lane {
                    list.resize(lane + 1, 0);
                }
                list[lane] = list[lane].max(*below);
            }
        }
    }

    /// Whether something holds of a lane and its count, of those that a tree counts.
    pub(super) fn any(&self, root: Root, holds: &impl Fn(u32, u32) -> bool) -> bool {
        self.any_below(root.node, root.height, 0, holds)
    }

    fn any_below(
        &self,
        node: u32,
        level: u8,
        first: u32,
        holds: &impl Fn(u32, u32) -> bool,
    ) -> bool {
        let below = self.nodes[node as usize].iter().zip(0_u32..);
        let mut below = below.filter(|(below, _)| **below != NOTHING);
        below.any(|(below, at)| {
            let lane = first + (at << (BITS * u32::from(level)));
            if level == 0 {
                holds(lane, *below)
            } else {
                self.any_below(*below, level - 1, lane, holds)
            }
        })
    }

    fn append(&mut self, node: [u32; FAN]) -> u32 {
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }
}

/// The height of a tree that holds a lane.
fn height_for(lane: u32) -> u8 {
    ((u32::BITS - lane.leading_zeros()).div_ceil(BITS).max(1) - 1) as u8
}

fn slot(lane: u32, level: u32) -> usize {
    (lane >> (BITS * level)) as usize % FAN
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of counts and the same as a tree.
    fn tree(marks: &mut Marks, counts: &[(u32, u32)]) -> Root {
        let known = |(lane, count): &(u32, u32)| known(Root::EMPTY, *lane, *count);
        let of: Vec<Known> = counts.iter().map(known).collect();
        marks.past(&of)
    }

    fn known(root: Root, lane: u32, count: u32) -> Known {
        Known { root, lane, count }
    }

    #[test]
    fn a_tree_counts_what_a_list_would() {
        let mut marks = Marks::default();
        let mut dice = 7_u64;
        let mut roll = move |below: u64| {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            ((dice >> 33) % below) as u32
        };
        let mut trees = vec![(Root::EMPTY, Vec::new())];
        for _ in 0..2000 {
            let most = [20, 300, 5000][roll(3) as usize];
            let (a, b) = (roll(trees.len() as u64), roll(trees.len() as u64));
            let (one, mut list) = trees[a as usize].clone();
            let (other, more) = trees[b as usize].clone();
            let (lane, count) = (roll(most), 1 + roll(9));
            let (second, twice) = (roll(most), 1 + roll(9));
            let root = marks.past(&[known(one, lane, count), known(other, second, twice)]);
            let least = 1 + lane.max(second) as usize;
            list.resize(list.len().max(more.len()).max(least), 0);
            for (lane, count) in more.iter().enumerate() {
                list[lane] = list[lane].max(*count);
            }
            for (lane, count) in [(lane, count), (second, twice)] {
                list[lane as usize] = list[lane as usize].max(count);
            }
            for lane in [lane, roll(5000), u32::MAX] {
                let due = list.get(lane as usize).copied().unwrap_or(0);
                assert_eq!(marks.count(root, lane), due);
            }
            let mut spread = Vec::new();
            marks.spread(root, &mut spread);
            list.truncate(spread.len().max(lane as usize + 1));
            spread.resize(list.len(), 0);
            assert_eq!(spread, list);
            trees.push((root, list));
        }
    }

    #[test]
    fn what_agrees_is_shared() {
        let mut marks = Marks::default();
        let one = tree(&mut marks, &[(0, 5), (20, 3), (300, 1)]);
        let more = marks.past(&[known(one, 20, 4)]);
        let before = marks.len();
        assert_eq!(marks.past(&[known(one, 20, 2), known(more, 0, 5)]), more);
        assert_eq!(marks.past(&[known(more, 20, 4)]), more);
        assert_eq!(marks.len(), before);
        let other = marks.past(&[known(one, 0, 6)]);
        let before = marks.len();
        let both = marks.past(&[known(more, 300, 1), known(other, 300, 1)]);
        let path = both.height as usize + 1;
        assert!(marks.len() - before <= path, "leaves are there already");
    }
}
