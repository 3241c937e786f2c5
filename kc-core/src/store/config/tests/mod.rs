mod choices;
mod documents;
mod properties;
