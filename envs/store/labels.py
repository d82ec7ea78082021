"""What the shop's controls are called, in each skin. Templates and oracles read it alike.

Names are unambiguous within a page: where a control is repeated, it says what it is about.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Skin = Literal["a", "b"]
SKINS: tuple[Skin, ...] = ("a", "b")
STEPS = {
    "a": ("address", "delivery", "payment", "review"),
    "b": ("delivery", "address", "payment", "review"),
}
"""The steps of the checkout in each skin, in order."""


class Label(NamedTuple):
    """One control's or heading's words; `{…}` is filled in."""

    a: str
    b: str


LABELS: dict[str, Label] = {
    "shop": Label("Harbour & Pine", "Northlight Goods"),
    "claim": Label("Good things for the house, made to last", "Everyday objects, chosen slowly"),
    "skip": Label("Skip to content", "Jump to the main part"),
    "home": Label("Home", "Start"),
    "all": Label("All products", "Whole range"),
    "help": Label("Delivery and returns", "How we deliver"),
    "account": Label("Your account", "My page"),
    "sign_in": Label("Sign in", "Log in"),
    "sign_out": Label("Sign out", "Log out"),
    "register": Label("Create account", "Join us"),
    "cart": Label("Cart", "Basket"),
    "wishes": Label("Saved items", "Favourites"),
    "admin": Label("Manage shop", "Back office"),
    "search.field": Label("Search products", "Find something"),
    "search.go": Label("Search", "Find"),
    # Catalogue
    "filters": Label("Filters", "Narrow down"),
    "filter.brand": Label("Brand", "Maker"),
    "filter.colour": Label("Colour", "Shade"),
    "filter.lowest": Label("Lowest price", "Price from"),
    "filter.highest": Label("Highest price", "Price up to"),
    "filter.rating": Label("Customer rating", "Stars"),
    "filter.any": Label("Any", "All"),
    "filter.least": Label("{stars} and more", "At least {stars}"),
    "filter.stock": Label("In stock only", "Available now"),
    "filter.category": Label("Category", "Department"),
    "filter.apply": Label("Apply filters", "Show matches"),
    "filter.clear": Label("Clear filters", "Start over"),
    "sort": Label("Sort by", "Order"),
    "sort.featured": Label("Featured", "Our choice"),
    "sort.price_up": Label("Price: low to high", "Cheapest first"),
    "sort.price_down": Label("Price: high to low", "Dearest first"),
    "sort.rating": Label("Best rated", "Most stars"),
    "sort.name": Label("Name", "A to Z"),
    "page.next": Label("Next page", "Further"),
    "page.previous": Label("Previous page", "Back a page"),
    "none": Label("No products fit.", "Nothing matches."),
    # Product
    "quantity": Label("Quantity", "How many"),
    "add": Label("Add {name} to cart", "Put {name} in basket"),
    "save": Label("Save {name} for later", "Mark {name} as favourite"),
    "unsave": Label("Remove {name} from saved items", "Unmark {name}"),
    "stock.some": Label("In stock", "Available"),
    "stock.none": Label("Sold out", "Not available"),
    "reviews": Label("Reviews", "What people say"),
    "review.write": Label("Write a review", "Tell others"),
    "review.stars": Label("Your rating in stars", "Stars you give"),
    "review.text": Label("Your review", "In your words"),
    "review.send": Label("Post review", "Share it"),
    "related": Label("You may also like", "Goes well with it"),
    "facts": Label("Details", "Good to know"),
    # Cart
    "cart.empty": Label("Your cart is empty.", "Nothing in your basket yet."),
    "cart.quantity": Label("Quantity of {name}, {size}", "How many {name}, {size}"),
    "cart.update": Label("Update {name}, {size}", "Change {name}, {size}"),
    "cart.remove": Label("Remove {name}, {size}", "Take out {name}, {size}"),
    "code": Label("Discount code", "Voucher"),
    "code.apply": Label("Apply code", "Redeem"),
    "code.drop": Label("Remove code", "Drop voucher"),
    "subtotal": Label("Subtotal", "Goods"),
    "saved": Label("Discount", "Voucher"),
    "delivery": Label("Delivery", "Shipping"),
    "total": Label("Total", "To pay"),
    "checkout": Label("Go to checkout", "Order now"),
    "shopping": Label("Continue shopping", "Look around more"),
    # Checkout
    "step": Label("Step {number} of {count}", "Part {number} of {count}"),
    "step.address": Label("Delivery address", "Where to"),
    "step.delivery": Label("Delivery method", "How it travels"),
    "step.payment": Label("Payment", "Paying"),
    "step.review": Label("Review your order", "One last look"),
    "next.address": Label("Use this address", "Send it there"),
    "next.delivery": Label("Continue to payment", "Take this way"),
    "next.payment": Label("Continue to review", "Go on"),
    "place": Label("Place order", "Buy now"),
    "back": Label("Back", "Previous part"),
    "change": Label("Change {what}", "Edit {what}"),
    "delivery.standard": Label("Standard, 3 to 5 days", "By post, 3 to 5 days"),
    "delivery.express": Label("Express, next day", "By courier, next day"),
    "delivery.pickup": Label("Pick up in the shop", "I collect it"),
    "pay": Label("How would you like to pay?", "Way of paying"),
    "pay.card": Label("Card", "Bank card"),
    "pay.invoice": Label("Invoice", "Bill by post"),
    "card": Label("Card number", "Number on the card"),
    "done": Label("Thank you for your order", "It is on its way to you soon"),
    # People
    "email": Label("E-mail address", "Your e-mail"),
    "password": Label("Password", "Secret word"),
    "password.old": Label("Current password", "Secret word now"),
    "password.new": Label("New password", "New secret word"),
    "password.again": Label("Repeat password", "Secret word once more"),
    "password.change": Label("Change password", "Set secret word"),
    "name": Label("Full name", "Your name"),
    "phone": Label("Phone number", "Telephone"),
    "profile": Label("Personal details", "About me"),
    "profile.save": Label("Save details", "Keep changes"),
    "addresses": Label("Addresses", "Places"),
    "address.new": Label("Add an address", "New place"),
    "address.edit": Label("Edit {label}", "Alter {label}"),
    "address.delete": Label("Delete {label}", "Drop {label}"),
    "address.delete.sure": Label("Yes, delete {label}", "Really drop {label}"),
    "address.prefer": Label("Make {label} the default", "Prefer {label}"),
    "address.default": Label("Default", "Preferred"),
    "address.label": Label("Address name", "What to call it"),
    "address.name": Label("Recipient", "Who receives it"),
    "address.street": Label("Street and number", "Street"),
    "address.city": Label("City", "Town"),
    "address.postcode": Label("Postcode", "Postal code"),
    "address.save": Label("Save address", "Keep place"),
    # Orders and returns
    "orders": Label("Orders", "Purchases"),
    "order": Label("Order {number}", "Purchase {number}"),
    "order.cancel": Label("Cancel order {number}", "Call off purchase {number}"),
    "order.cancel.sure": Label("Yes, cancel order {number}", "Really call off {number}"),
    "order.again": Label("Order {number} again", "Buy {number} once more"),
    "order.return": Label("Return items of order {number}", "Send back from {number}"),
    "status": Label("Status", "State"),
    "status.processing": Label("Processing", "Being packed"),
    "status.shipped": Label("Shipped", "On its way"),
    "status.delivered": Label("Delivered", "Arrived"),
    "status.cancelled": Label("Cancelled", "Called off"),
    "returns": Label("Returns", "Sent back"),
    "return.item": Label("Item to return", "What to send back"),
    "return.line": Label("{name}, {size} ({quantity} bought)", "{name}, {size}: {quantity}"),
    "return.quantity": Label("Quantity to return", "How many to send back"),
    "return.reason": Label("Reason", "Why"),
    "return.send": Label("Request return", "Ask to send back"),
    "return.requested": Label("Return requested", "Asked for"),
    "return.accepted": Label("Return accepted", "Agreed"),
    "return.refused": Label("Return refused", "Declined"),
    # The shop's own side
    "admin.products": Label("Products", "Stock and prices"),
    "admin.orders": Label("Customer orders", "Incoming purchases"),
    "admin.returns": Label("Return requests", "Goods coming back"),
    "admin.codes": Label("Discount codes", "Vouchers"),
    "admin.search": Label("Find a product", "Product name"),
    "admin.search.go": Label("Find product", "Look up"),
    "admin.edit": Label("Edit {name}", "Open {name}"),
    "admin.price": Label("Price", "Costs"),
    "admin.stock": Label("Stock of {size}", "{size} on the shelf"),
    "admin.active": Label("On sale", "Visible to customers"),
    "admin.save": Label("Save product", "Store changes"),
    "admin.filter": Label("Orders to show", "Which purchases"),
    "admin.filter.go": Label("Show orders", "List them"),
    "admin.ship": Label("Mark order {number} as shipped", "Purchase {number} has left"),
    "admin.deliver": Label("Mark order {number} as delivered", "Purchase {number} has arrived"),
    "admin.accept": Label(
        "Accept return of {name}, order {number}", "Agree to {name} from {number}"
    ),
    "admin.refuse": Label(
        "Refuse return of {name}, order {number}", "Decline {name} from {number}"
    ),
    "admin.code": Label("New code", "Voucher name"),
    "admin.percent": Label("Percent off", "Reduction in percent"),
    "admin.minimum": Label("Smallest cart value", "From a basket of"),
    "admin.code.add": Label("Add code", "Create voucher"),
    "admin.code.end": Label("End {code}", "Stop {code}"),
    "admin.code.start": Label("Start {code}", "Revive {code}"),
}


def say(skin: Skin, key: str, **values: str | int) -> str:
    """A label in a skin's words.

    Raises:
        KeyError: there is no such label, or a value is missing.
    """
    return getattr(LABELS[key], skin).format(**values)
