//! Roles: what an application replaces in a node, and what actors are given to reach each other.

/// Defines a role: a struct with a [`Slot`](crate::Slot) for each message of the role, next to those messages.
///
/// An actor that handles all of the messages takes the role in one call; one that handles some of them takes their
/// slots one by one. A message is added to a role by its type, its line here, and its handler in the node's own actor.
macro_rules! role {
    (
        $(#[$attribute:meta])*
        pub struct $role:ident {
            $($(#[$slot_attribute:meta])* $slot:ident: $message:ty,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, Default)]
        pub struct $role {
            $($(#[$slot_attribute])* pub $slot: $crate::Slot<$message>,)+
        }

        impl $role {
            /// Returns the role with this actor in it.
            pub fn to<A>(address: &actix::Addr<A>) -> Self
            where
                A: actix::Actor,
                $(A: actix::Handler<$message>, A::Context: actix::dev::ToEnvelope<A, $message>,)+
            {
                let role = Self::default();
                role.connect(address);
                role
            }

            /// Makes this actor the node's own in the role, in place of the one before.
            pub fn connect<A>(&self, address: &actix::Addr<A>)
            where
                A: actix::Actor,
                $(A: actix::Handler<$message>, A::Context: actix::dev::ToEnvelope<A, $message>,)+
            {
                $(self.$slot.connect(address);)+
            }

            /// Sends the messages of the role to this actor for as long as it is alive.
            pub fn replace<A>(&self, address: &actix::Addr<A>)
            where
                A: actix::Actor,
                $(A: actix::Handler<$message>, A::Context: actix::dev::ToEnvelope<A, $message>,)+
            {
                $(self.$slot.replace(address);)+
            }

            /// Returns the role as the node's own actor has it, for a replacement that passes messages on.
            #[must_use]
            pub fn own(&self) -> Self {
                Self { $($slot: self.$slot.own(),)+ }
            }

            /// Empties all slots of the role.
            pub fn disconnect(&self) {
                $(self.$slot.disconnect();)+
            }

            /// Returns whether the node's own actor is alive behind all slots.
            pub(crate) fn is_connected(&self) -> bool {
                $(self.$slot.is_connected())&&+
            }
        }
    };
}

pub(crate) use role;
