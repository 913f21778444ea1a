//! The pages for users of encke.

// The first definition of a link counts: these are for rustdoc, the pages' own for a repository.

#[doc = "[browser]: self::browser\n[operating]: self::operating\n[nodes]: self::nodes\n[embedding]: self::embedding\n[rights]: self::rights\n"]
#[doc = include_str!("http.md")]
pub mod http {}

#[doc = "[http]: self::http\n[operating]: self::operating\n[embedding]: self::embedding\n"]
#[doc = include_str!("rights.md")]
pub mod rights {}

#[doc = "[http]: self::http\n[embedding]: self::embedding\n[nodes]: self::nodes\n[rights]: self::rights\n"]
#[doc = include_str!("operating.md")]
pub mod operating {}

#[doc = "[http]: self::http\n[operating]: self::operating\n"]
#[doc = include_str!("nodes.md")]
pub mod nodes {}

#[doc = "[http]: self::http\n[nodes]: self::nodes\n[operating]: self::operating\n[rights]: self::rights\n"]
#[doc = include_str!("embedding.md")]
pub mod embedding {}

#[doc = "[answers]: self::answers\n[http]: self::http\n[rights]: self::rights\n"]
#[doc = include_str!("browser.md")]
pub mod browser {}

#[doc = "[browser]: self::browser\n[http]: self::http\n[operating]: self::operating\n[rights]: self::rights\n"]
#[doc = include_str!("answers.md")]
pub mod answers {}
