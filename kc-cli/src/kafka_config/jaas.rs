//! `sasl.jaas.config`: the login module of Java's client, with its options.

/// A login module, for example
/// `org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="p";`.
pub(super) struct Login {
    /// The last part of the module's class name.
    module: String,
    options: Vec<(String, String)>,
}

/// The prefix of the names of SASL extensions.
const EXTENSION: &str = "extension_";

impl Login {
    /// Parses the value of `sasl.jaas.config`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let text = text
            .strip_suffix(';')
            .ok_or("the closing semicolon is missing")?;
        let mut words = words(text)?.into_iter();
        let class = words.next().ok_or("the login module is missing")?;
        words
            .next()
            .ok_or("the word after the login module is missing (required)")?;
        let options = words.map(|word| match word.split_once('=') {
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!(
                "expected name=value instead of {} characters",
                word.len()
            )),
        });
        Ok(Self {
            module: class.rsplit('.').next().unwrap_or_default().to_owned(),
            options: options.collect::<Result<_, _>>()?,
        })
    }

    /// Returns the setting of an option.
    fn setting(&self, option: &str) -> Option<&'static str> {
        Some(match (self.module.as_str(), option) {
            ("PlainLoginModule" | "ScramLoginModule", "username") => "sasl_plain_username",
            ("PlainLoginModule" | "ScramLoginModule", "password") => "sasl_plain_password",
            ("OAuthBearerLoginModule", "clientId") => "sasl_oauth_client_id",
            ("OAuthBearerLoginModule", "clientSecret") => "sasl_oauth_client_secret",
            ("OAuthBearerLoginModule", "scope") => "sasl_oauth_scope",
            _ => return None,
        })
    }

    /// Returns the settings that the module and its options stand for.
    pub(super) fn settings(&self) -> Vec<(&'static str, String)> {
        let options = self.options.iter();
        let setting = |(name, value): &(String, String)| Some((self.setting(name)?, value.clone()));
        let mut settings: Vec<_> = options.filter_map(setting).collect();
        let extensions: Vec<_> = self.extensions().collect();
        if !extensions.is_empty() {
            settings.push(("sasl_oauth_extensions", extensions.join(",")));
        }
        settings
    }

    fn extensions(&self) -> impl Iterator<Item = String> {
        let has_extensions = self.module == "OAuthBearerLoginModule";
        let options = self.options.iter().filter(move |_| has_extensions);
        options
            .filter_map(|(name, value)| Some(format!("{}={value}", name.strip_prefix(EXTENSION)?)))
    }

    /// Returns the names of the options that have no effect.
    pub(super) fn ignored(&self) -> Vec<&str> {
        let names = self.options.iter().map(|(name, _)| name.as_str());
        let has_extensions = self.module == "OAuthBearerLoginModule";
        let is_ignored = |name: &&str| {
            self.setting(name).is_none() && !(has_extensions && name.starts_with(EXTENSION))
        };
        names.filter(is_ignored).collect()
    }
}

/// Splits a text at white space. Quoted parts belong to one word; a backslash quotes the next character in them.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(next) = characters.next() {
        match (quote, next) {
            (Some(_), '\\') => {
                let quoted = characters.next().ok_or("a backslash ends the text")?;
                word.get_or_insert_default().push(quoted);
            }
            (Some(open), _) if next == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(next);
                word.get_or_insert_default();
            }
            (None, _) if next.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(next),
        }
    }
    if quote.is_some() {
        return Err("a quotation mark is missing".to_owned());
    }
    words.extend(word);
    Ok(words)
}
