//! Tables in Markdown, padded so that they read well in a terminal too.

use std::fmt::{self, Display, Formatter};

/// A table: the first column is aligned left, the others right.
#[derive(Clone, Debug)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new<const N: usize>(header: [&str; N]) -> Self {
        Self(vec![header.map(str::to_owned).to_vec()])
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.push(cells.to_vec());
    }
}

impl Display for Table {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let columns = self.0.first().map_or(0, Vec::len);
        let cells = |column: usize| self.0.iter().filter_map(move |row| row.get(column));
        let width = |column: usize| cells(column).map(|cell: &String| cell.chars().count()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.0.iter().enumerate() {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(formatter, "| {cell:<width$} |")
                } else {
                    write!(formatter, " {cell:>width$} |")
                }?;
            }
            writeln!(formatter)?;
            if number == 0 {
                for (column, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(*width);
                    if column == 0 { write!(formatter, "|-{dashes}-|") } else { write!(formatter, "-{dashes}:|") }?;
                }
                writeln!(formatter)?;
            }
        }
        Ok(())
    }
}

#[test]
fn a_table_is_padded_markdown() {
    let mut table = Table::new(["what", "µs"]);
    table.row(["a loop".to_owned(), "25".to_owned()]);
    assert_eq!(table.to_string(), "| what   | µs |\n|--------|---:|\n| a loop | 25 |\n");
}
