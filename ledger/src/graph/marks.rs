//! Watermarks: how many events of each lane lie in the past of an event, as persistent 16-ary trees in one arena.
//!
//! Nodes are never changed, only appended, and an event's tree shares with those of its parents whatever they agree in: a
//! few nodes of 64 bytes an event, where a list would have 4 bytes a lane. What was appended last is cut off first, so
//! taking back the newest events gives their nodes back too.

/// Children of a node, or counts in a leaf.
const FAN: usize = 16;
const BITS: u32 = 4;
/// The node that is all zero: a leaf that counts nothing, and an inner node of such ones.
const NOTHING: u32 = 0;

/// A tree's root and how many levels lie below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    node: u32,
    height: u32,
}

impl Root {
    pub(super) const EMPTY: Self = Self {
        node: NOTHING,
        height: 0,
    };
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

    /// Gives back all nodes behind the first `len`, of which no tree is left.
    pub(super) fn truncate(&mut self, len: usize) {
        self.nodes.truncate(len.max(1));
    }

    /// The count of a lane.
    pub(super) fn count(&self, root: Root, lane: u32) -> u32 {
        if lane.checked_shr(BITS * (root.height + 1)).unwrap_or(0) != 0 {
            return 0;
        }
        let mut node = root.node;
        for level in (0..=root.height).rev() {
            node = self.nodes[node as usize][slot(lane, level)];
        }
        node
    }

    /// A tree that counts what either counts.
    pub(super) fn join(&mut self, a: Root, b: Root) -> Root {
        let (low, high) = if a.height < b.height { (a, b) } else { (b, a) };
        Root {
            node: self.join_below(low.node, low.height, high.node, high.height),
            height: high.height,
        }
    }

    /// A tree that counts at least so many of a lane.
    pub(super) fn raise(&mut self, root: Root, lane: u32, count: u32) -> Root {
        let mut root = root;
        while lane.checked_shr(BITS * (root.height + 1)).unwrap_or(0) != 0 {
            let mut above = [NOTHING; FAN];
            above[0] = root.node;
            root = Root {
                node: if root.node == NOTHING {
                    NOTHING
                } else {
                    self.append(above)
                },
                height: root.height + 1,
            };
        }
        Root {
            node: self.raise_in(root.node, root.height, lane, count),
            ..root
        }
    }

    /// Raises a list by what a tree counts.
    pub(super) fn spread(&self, root: Root, list: &mut Vec<u32>) {
        self.spread_node(root.node, root.height, 0, list);
    }

    fn spread_node(&self, node: u32, level: u32, first: usize, list: &mut Vec<u32>) {
        if node == NOTHING {
            return;
        }
        for (at, below) in self.nodes[node as usize].iter().enumerate() {
            let lane = first + (at << (BITS * level));
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

    fn join_below(&mut self, low: u32, low_level: u32, high: u32, level: u32) -> u32 {
        if low == NOTHING {
            return high;
        }
        if low_level < level {
            let mut node = self.nodes[high as usize];
            let first = self.join_below(low, low_level, node[0], level - 1);
            if first == node[0] {
                return high;
            }
            node[0] = first;
            return self.append(node);
        }
        if low == high || high == NOTHING {
            return low;
        }
        let (mine, theirs) = (self.nodes[low as usize], self.nodes[high as usize]);
        let mut joined = [0; FAN];
        for at in 0..FAN {
            joined[at] = if level == 0 {
                mine[at].max(theirs[at])
            } else {
                self.join_below(mine[at], level - 1, theirs[at], level - 1)
            };
        }
        if joined == theirs {
            high
        } else if joined == mine {
            low
        } else {
            self.append(joined)
        }
    }

    fn raise_in(&mut self, node: u32, level: u32, lane: u32, count: u32) -> u32 {
        let (mut copy, at) = (self.nodes[node as usize], slot(lane, level));
        let below = if level == 0 {
            copy[at].max(count)
        } else {
            self.raise_in(copy[at], level - 1, lane, count)
        };
        if below == copy[at] {
            return node;
        }
        copy[at] = below;
        self.append(copy)
    }

    fn append(&mut self, node: [u32; FAN]) -> u32 {
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }
}

fn slot(lane: u32, level: u32) -> usize {
    (lane >> (BITS * level)) as usize % FAN
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of counts and the same as a tree.
    fn tree(marks: &mut Marks, counts: &[(u32, u32)]) -> Root {
        counts.iter().fold(Root::EMPTY, |root, (lane, count)| {
            marks.raise(root, *lane, *count)
        })
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
            let joined = marks.join(one, other);
            let root = marks.raise(joined, lane, count);
            list.resize(list.len().max(more.len()).max(lane as usize + 1), 0);
            for (lane, count) in more.iter().enumerate() {
                list[lane] = list[lane].max(*count);
            }
            list[lane as usize] = list[lane as usize].max(count);
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
        let more = marks.raise(one, 20, 4);
        let before = marks.len();
        assert_eq!(marks.join(one, more), more);
        assert_eq!(marks.join(more, one), more);
        assert_eq!(marks.raise(more, 0, 5), more);
        assert_eq!(marks.len(), before);
        let other = marks.raise(one, 0, 6);
        let before = marks.len();
        marks.join(more, other);
        assert_eq!(marks.len() - before, 2, "the root and the node below it");
    }
}
