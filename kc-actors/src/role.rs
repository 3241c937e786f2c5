//! Roles are the replaceable parts of a node. Actors send messages to each other through roles.

/// Defines a role: a struct with a [`Slot`](crate::Slot) for each message of the role. The struct is defined in the
/// same module as the messages.
///
/// An actor that handles all messages of a role takes over the role in one call. An actor that handles only some of
/// them takes over their slots one by one. To add a message to a role, define its type, add a line to the role, and
/// write a handler in the default actor.
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
            /// Returns a role in which the actor at `address` is the default actor of all slots.
            pub fn to<A>(address: &actix::Addr<A>) -> Self
            where
                A: actix::Actor,
                $(A: actix::Handler<$message>, A::Context: actix::dev::ToEnvelope<A, $message>,)+
            {
                let role = Self::default();
                role.connect(address);
                role
            }

            /// Makes the actor at `address` the default actor of this role, instead of the previous default actor.
            pub fn connect<A>(&self, address: &actix::Addr<A>)
            where
                A: actix::Actor,
                $(A: actix::Handler<$message>, A::Context: actix::dev::ToEnvelope<A, $message>,)+
            {
                $(self.$slot.connect(address);)+
            }

            /// Lets the actor at `address` receive the messages of this role while that actor is alive.
            pub fn replace<A>(&self, address: &actix::Addr<A>)
            where
                A: actix::Actor,
                $(A: actix::Handler<$message>, A::Context: actix::dev::ToEnvelope<A, $message>,)+
            {
                $(self.$slot.replace(address);)+
            }

            /// Returns a role whose slots always lead to the default actor. An actor that replaces the default actor
            /// forwards messages through this role.
            #[must_use]
            pub fn own(&self) -> Self {
                Self { $($slot: self.$slot.own(),)+ }
            }

            /// Removes the actors from all slots of this role.
            pub fn disconnect(&self) {
                $(self.$slot.disconnect();)+
            }

            /// Returns whether the default actors of all slots are alive.
            pub(crate) fn is_connected(&self) -> bool {
                $(self.$slot.is_connected())&&+
            }
        }
    };
}

pub(crate) use role;
