# The PL/Python original as the upgrade's tests meet it: its script (t/data/original.sql) among those of the server, until the test ends.
#
#   use SteadyText::Original;      # skips the whole test where no script can be put there
#   $cluster->sql("CREATE EXTENSION pg_steadytext VERSION '2025.11.25'");
package SteadyText::Original;

use strict;
use warnings;
use File::Copy qw(copy);
use SteadyText::Cluster;
use Test::More;

my $script;

sub import {
    my $config = $ENV{PG_CONFIG} // (reverse sort glob '/usr/lib/postgresql/*/bin/pg_config')[0];
    chomp(my $directory = `$config --sharedir`);
    my $place = "$directory/extension/pg_steadytext--2025.11.25.sql";
    plan skip_all => "cannot write $place" unless -w "$directory/extension";
    copy("$SteadyText::Cluster::ROOT/t/data/original.sql", $place) or die "$place: $!";
    chmod 0644, $script = $place;
    return;
}
END { local $?; unlink $script if $script }

1;
