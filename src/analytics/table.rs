//! Tables with typed columns as CSV or Parquet. CSV holds money to the last micro-cent; Parquet holds it as
//! 64-bit reals, beside which the integer columns of a table are exact.

use jiff::Timestamp;

use crate::analytics::AnalyticsError;
use crate::domain::money::MicroCents;

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// Text; what is absent is null.
    Text(Vec<Option<String>>),
    /// Money in units of the currency.
    Money(Vec<MicroCents>),
    /// Money in micro-cents.
    MicroCents(Vec<MicroCents>),
    /// Reals.
    Real(Vec<f64>),
    /// Instants, as ISO 8601 text in UTC.
    Time(Vec<Timestamp>),
}

impl Cells {
    /// The same text in every row.
    pub fn constant(text: &str, rows: usize) -> Self {
        Self::Text(vec![Some(text.to_owned()); rows])
    }

    /// Null in every row.
    pub fn null(rows: usize) -> Self {
        Self::Text(vec![None; rows])
    }

    fn shown(&self, row: usize) -> String {
        match self {
            Self::Text(values) => values[row].clone().unwrap_or_default(),
            Self::Money(values) => decimal(values[row]),
            Self::MicroCents(values) => values[row].get().to_string(),
            Self::Real(values) => format!("{:.6}", values[row]),
            Self::Time(values) => values[row].to_string(),
        }
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Columns by name, all of one length.
    pub columns: Vec<(&'static str, Cells)>,
    /// How many rows there are.
    pub rows: usize,
}

/// An amount in units of the currency, exact.
pub fn decimal(amount: MicroCents) -> String {
    let unit = MicroCents::PER_UNIT.unsigned_abs();
    let (sign, size) = (if amount.get() < 0 { "-" } else { "" }, amount.get().unsigned_abs());
    format!("{sign}{}.{:08}", size / unit, size % unit)
}

impl Table {
    /// The table as CSV with a header.
    pub fn csv(&self) -> Result<Vec<u8>, AnalyticsError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| AnalyticsError::Frame {
            operation: "write the table".to_owned(),
            source,
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        let write = |error: csv::Error| failed(Box::new(error));
        writer.write_record(self.columns.iter().map(|(name, _)| *name)).map_err(write)?;
        for row in 0..self.rows {
            writer.write_record(self.columns.iter().map(|(_, cells)| cells.shown(row))).map_err(write)?;
        }
        writer.into_inner().map_err(|error| failed(Box::new(error.into_error())))
    }

    /// The table as Parquet.
    #[cfg(feature = "analytics")]
    pub fn parquet(&self) -> Result<Vec<u8>, AnalyticsError> {
        let failed = |source: polars::error::PolarsError| AnalyticsError::Frame {
            operation: "write the table".to_owned(),
            source: Box::new(source),
        };
        let columns = self.columns.iter().map(|(name, cells)| polars_column(name, cells)).collect();
        let mut frame = polars::frame::DataFrame::new(self.rows, columns).map_err(failed)?;
        let mut content = Vec::new();
        polars_io::prelude::ParquetWriter::new(&mut content).finish(&mut frame).map_err(failed)?;
        Ok(content)
    }

    /// The table as Parquet; this build cannot.
    #[cfg(not(feature = "analytics"))]
    pub fn parquet(&self) -> Result<Vec<u8>, AnalyticsError> {
        Err(AnalyticsError::NotBuilt)
    }
}

#[cfg(feature = "analytics")]
fn polars_column(name: &str, cells: &Cells) -> polars::prelude::Column {
    use polars::prelude::{Column, NamedFrom, Series};
    let series = match cells {
        Cells::Text(values) => Series::new(name.into(), values),
        Cells::Money(values) => {
            Series::new(name.into(), values.iter().map(|money| money.units()).collect::<Vec<_>>())
        }
        Cells::MicroCents(values) => {
            Series::new(name.into(), values.iter().map(|money| money.get()).collect::<Vec<_>>())
        }
        Cells::Real(values) => Series::new(name.into(), values),
        Cells::Time(values) => {
            Series::new(name.into(), values.iter().map(Timestamp::to_string).collect::<Vec<_>>())
        }
    };
    Column::from(series)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_exact_and_text_is_quoted() {
        let table = Table {
            columns: vec![
                ("name", Cells::Text(vec![Some("a,\"b\"".to_owned()), None])),
                ("cost", Cells::Money(vec![MicroCents::new(-1), MicroCents::new(123_456_789_012)])),
            ],
            rows: 2,
        };
        let csv = String::from_utf8(table.csv().expect("a file")).expect("text");
        assert_eq!(csv, "name,cost\n\"a,\"\"b\"\"\",-0.00000001\n,1234.56789012\n");
    }
}
