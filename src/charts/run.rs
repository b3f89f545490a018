//! A run on real processes as one page: courses over its time, and its figures.

use std::fmt::Write;

use crate::charts::cells::Cells;
use crate::charts::draw::{Chart, Mark, Series, escaped};
use crate::charts::page::{around, course, table};

/// A line over the time of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Its colour: the same number in each picture.
    pub place: usize,
    /// Seconds since the run began, and the value then.
    pub points: Vec<(f64, f64)>,
}

/// Lines in one picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// What it shows.
    pub title: String,
    /// The unit of its lines.
    pub unit: String,
    /// The lines.
    pub lines: Vec<Line>,
}

/// The page of a run: sentences, tables with their captions, pictures.
pub fn page(title: &str, words: &[String], tables: &[(String, Cells)], pictures: &[Picture]) -> String {
    let mut body = String::from("<section>\n");
    for (caption, cells) in tables {
        let _ = writeln!(body, "{}", table(cells, caption));
    }
    for picture in pictures {
        let _ = write!(
            body,
            "<h3>{}</h3>\n{}",
            escaped(&picture.title),
            course(&chart(picture), "nothing was measured")
        );
    }
    body.push_str("</section>\n");
    let words: Vec<String> = words.iter().map(|sentence| escaped(sentence)).collect();
    around(&escaped(title), &words.join("<br>\n"), &body)
}

fn chart(picture: &Picture) -> Chart {
    let mark = |(x, y): &(f64, f64)| Mark { x: *x, y: *y, words: String::new() };
    let series = picture.lines.iter().map(|line| Series {
        name: line.name.clone(),
        place: line.place,
        marks: line.points.iter().map(mark).collect(),
        asked: None,
    });
    Chart {
        title: picture.title.clone(),
        x: "seconds".to_owned(),
        y: picture.unit.clone(),
        series: series.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_every_picture_and_loads_nothing() {
        let line = |name: &str, place, factor: f64| Line {
            name: name.to_owned(),
            place,
            points: (0..50).map(|second| (f64::from(second), factor * f64::from(second % 10))).collect(),
        };
        let pictures = [
            Picture {
                title: "load <and> capacity".to_owned(),
                unit: "requests/s".to_owned(),
                lines: vec![line("load", 0, 1.0), line("capacity", 1, 2.0)],
            },
            Picture { title: "none".to_owned(), unit: "ms".to_owned(), lines: Vec::new() },
        ];
        let cells =
            Cells { head: vec!["policy", "p95"], rows: vec![vec!["hpa".to_owned(), "7 ms".to_owned()]] };
        let page = page("A run", &["one < two".to_owned()], &[("Figures".to_owned(), cells)], &pictures);
        assert_eq!((page.matches("<h3>").count(), page.matches("<figure>").count()), (2, 1));
        assert!(page.contains("load &lt;and&gt; capacity") && page.contains("one &lt; two"), "{page}");
        assert!(page.contains("Nothing to draw") && page.contains("var(--s1)"), "{page}");
        for elsewhere in ["src=", "href=", "@import"] {
            assert!(!page.contains(elsewhere), "{elsewhere}");
        }
    }
}
