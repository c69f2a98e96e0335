//! Tables: text left, numbers right, two spaces between columns, nothing wrapped.

use super::{Line, Role};

/// A table to be.
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Line>>,
}

/// How a column behaves.
struct Column {
    title: &'static str,
    right: bool,
    /// Dropped when the room is short, the greatest first; 0 stays.
    drop: u8,
    /// May be cut when dropping is not enough.
    cut: bool,
}

impl Table {
    pub(super) const fn new() -> Self {
        Self {
            columns: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// A column of names or ids: always there, always whole.
    pub(super) fn name(self, title: &'static str) -> Self {
        self.column(title, false, 0, false)
    }

    /// A column of text that may be cut, and be dropped: the greatest `drop` first.
    pub(super) fn text(self, title: &'static str, drop: u8) -> Self {
        self.column(title, false, drop, true)
    }

    /// A column of numbers that may be dropped: the greatest `drop` first.
    pub(super) fn number(self, title: &'static str, drop: u8) -> Self {
        self.column(title, true, drop, false)
    }

    fn column(mut self, title: &'static str, right: bool, drop: u8, cut: bool) -> Self {
        self.columns.push(Column {
            title,
            right,
            drop,
            cut,
        });
        self
    }

    /// A row with one cell for each column.
    pub(super) fn row(&mut self, cells: Vec<Line>) {
        debug_assert_eq!(cells.len(), self.columns.len(), "a cell for each column");
        self.rows.push(cells);
    }

    /// The lines, title first; none when there are no rows.
    pub(super) fn lines(mut self, width: Option<usize>) -> Vec<Line> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let mut widths = self.widths();
        if let Some(width) = width {
            while total(&widths) > width {
                let Some(at) = self.droppable() else { break };
                self.columns.remove(at);
                self.rows.iter_mut().for_each(|row| drop(row.remove(at)));
                widths = self.widths();
            }
            shrink(&self.columns, &mut widths, width);
        }
        let head = self
            .columns
            .iter()
            .map(|column| Line::new(Role::Head, column.title))
            .collect();
        std::iter::once(head)
            .chain(self.rows)
            .map(|row| line(&self.columns, &widths, row))
            .collect()
    }

    fn widths(&self) -> Vec<usize> {
        let cells = |at: usize| {
            self.rows
                .iter()
                .filter_map(move |row| row.get(at))
                .map(Line::width)
                .max()
        };
        self.columns
            .iter()
            .enumerate()
            .map(|(at, column)| cells(at).unwrap_or(0).max(column.title.len()))
            .collect()
    }

    fn droppable(&self) -> Option<usize> {
        let candidates = self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| column.drop > 0);
        candidates
            .max_by_key(|(_, column)| column.drop)
            .map(|(at, _)| at)
    }
}

/// Takes columns from the widest that may be cut until all fit, or none can give more.
fn shrink(columns: &[Column], widths: &mut [usize], room: usize) {
    while total(widths) > room {
        let spare = |(column, width): &(&Column, &mut usize)| {
            column.cut && **width > column.title.len().max(LEAST)
        };
        let candidates = columns.iter().zip(&mut *widths).filter(spare);
        match candidates.max_by_key(|(_, width)| **width) {
            Some((_, widest)) => *widest -= 1,
            None => return,
        }
    }
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)
}

fn line(columns: &[Column], widths: &[usize], row: Vec<Line>) -> Line {
    let mut line = Line::default();
    // Spaces are only written before something, so that no line ends in them.
    let mut owed = 0;
    for ((column, width), cell) in columns.iter().zip(widths).zip(row) {
        let cell = if column.cut {
            cell.cut(Some(*width))
        } else {
            cell
        };
        let empty = width.saturating_sub(cell.width());
        let (before, after) = if column.right { (empty, 0) } else { (0, empty) };
        owed += before;
        if cell.spans().is_empty() {
            owed += after + 2;
            continue;
        }
        line = line.and(Role::Plain, " ".repeat(owed));
        line.spans.extend(cell.spans);
        owed = after + 2;
    }
    line
}

/// A column is cut to so many columns at most.
const LEAST: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::plain_text;
    use super::*;

    fn table() -> Table {
        let mut table = Table::new()
            .name("NAME")
            .text("WHY", 0)
            .number("RTT", 1)
            .text("NOTE", 2);
        let row = |cells: [&str; 4]| cells.map(Line::plain).to_vec();
        table.row(row(["bob", "direct, same LAN", "0.6 ms", "a note"]));
        table.row(row(["carol", "", "41 ms", ""]));
        table
    }

    #[test]
    fn a_pipe_gets_every_column_and_no_line_ends_in_spaces() {
        assert_eq!(
            plain_text(&table().lines(None)),
            "NAME   WHY                  RTT  NOTE\n\
             bob    direct, same LAN  0.6 ms  a note\n\
             carol                     41 ms"
        );
    }

    #[test]
    fn columns_are_dropped_in_order_then_text_is_cut_and_names_stay_whole() {
        assert_eq!(
            plain_text(&table().lines(Some(31))),
            "NAME   WHY                  RTT\n\
             bob    direct, same LAN  0.6 ms\n\
             carol                     41 ms"
        );
        assert_eq!(
            plain_text(&table().lines(Some(20))),
            "NAME   WHY\nbob    direct, same…\ncarol"
        );
        assert_eq!(
            plain_text(&table().lines(Some(5))),
            "NAME   WHY\nbob    direct,…\ncarol"
        );
    }

    #[test]
    fn an_empty_table_is_no_line_at_all() {
        assert_eq!(Table::new().name("NAME").lines(None), []);
    }
}
