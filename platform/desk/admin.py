"""Django's admin inside a tenant: its tickets, its customers, its own accounts."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from desk.models import Comment, Customer, Tag, Ticket

admin.site.unregister(User)
admin.site.unregister(Group)


class CommentInline(TabularInline):
    model = Comment
    extra = 0


@admin.register(Ticket)
class TicketAdmin(ModelAdmin):
    list_display = ["title", "status", "priority", "customer", "votes", "updated_at"]
    list_filter = ["status", "priority"]
    list_select_related = ["customer"]
    search_fields = ["title", "body"]
    autocomplete_fields = ["customer", "tags"]
    readonly_fields = ["votes"]
    inlines = [CommentInline]


@admin.register(Customer)
class CustomerAdmin(ModelAdmin):
    list_display = ["name", "email"]
    search_fields = ["name", "email"]


@admin.register(Tag)
class TagAdmin(ModelAdmin):
    search_fields = ["name"]


@admin.register(User)
class AccountAdmin(UserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class AccountGroupAdmin(GroupAdmin, ModelAdmin):
    pass
