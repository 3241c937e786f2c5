//! Roles: the replaceable parts of a node. Actors reach each other through roles.

/// Defines a role: a struct with a [`Slot`](crate::Slot) for each message of the role. The struct stands next to
/// those messages.
///
/// An actor that handles all messages takes the role in one call. An actor that handles some of them takes their
/// slots one by one. A new message of a role needs its type, a line in the role, and a handler in the node's own
/// actor.
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
            /// Returns a role whose own actor, in all slots, is the one at `address`.
            pub fn to<A>(address: &actix::Addr<A>) -> Self
            where
                A: actix::Actor,
                $(A: actix::Handler<$message>, A::Context: actix::dev::ToEnvelope<A, $message>,)+
            {
                let role = Self::default();
                role.connect(address);
                role
            }

            /// Makes the actor at `address` the node's own actor in this role, instead of the previous one.
            pub fn connect<A>(&self, address: &actix::Addr<A>)
            where
                A: actix::Actor,
                $(A: actix::Handler<$message>, A::Context: actix::dev::ToEnvelope<A, $message>,)+
            {
                $(self.$slot.connect(address);)+
            }

            /// Sends the messages of this role to the actor at `address`, as long as it is alive.
            pub fn replace<A>(&self, address: &actix::Addr<A>)
            where
                A: actix::Actor,
                $(A: actix::Handler<$message>, A::Context: actix::dev::ToEnvelope<A, $message>,)+
            {
                $(self.$slot.replace(address);)+
            }

            /// Returns the role with slots to the node's own actor. A replacement uses it to forward messages.
            #[must_use]
            pub fn own(&self) -> Self {
                Self { $($slot: self.$slot.own(),)+ }
            }

            /// Removes the actors from all slots of this role.
            pub fn disconnect(&self) {
                $(self.$slot.disconnect();)+
            }

            /// Returns whether the node's own actor is alive in all slots.
            pub(crate) fn is_connected(&self) -> bool {
                $(self.$slot.is_connected())&&+
            }
        }
    };
}

pub(crate) use role;
