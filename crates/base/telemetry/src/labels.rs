/// Makes an enum whose values are the values of one metric label, and `as_str` and `ALL` for it.
#[macro_export]
macro_rules! label {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name {
            $($(#[$variant_meta])* #[doc = concat!("`", $text, "`")] $variant),+
        }

        impl $name {
            /// All values.
            $vis const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As it stands in the exposition.
            #[must_use]
            $vis const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl $crate::private::EncodeLabelValue for $name {
            fn encode(
                &self,
                encoder: &mut $crate::private::LabelValueEncoder<'_>,
            ) -> ::core::result::Result<(), ::core::fmt::Error> {
                ::core::fmt::Write::write_str(encoder, self.as_str())
            }
        }
    };
}

/// Makes a set of labels: a struct whose fields are enums made by [`label!`].
#[macro_export]
macro_rules! label_set {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($(#[$field_meta:meta])* $field:ident : $label:ty),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis struct $name {
            $($(#[$field_meta])* #[doc = concat!("The label `", stringify!($field), "`.")] $vis $field: $label),+
        }

        impl $crate::private::EncodeLabelSet for $name {
            fn encode(
                &self,
                encoder: &mut $crate::private::LabelSetEncoder<'_>,
            ) -> ::core::result::Result<(), ::core::fmt::Error> {
                $($crate::private::EncodeLabel::encode(
                    &(stringify!($field), self.$field.as_str()),
                    encoder.encode_label(),
                )?;)+
                Ok(())
            }
        }
    };
}
