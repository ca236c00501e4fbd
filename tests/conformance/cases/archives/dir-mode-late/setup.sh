export TAR_OPTIONS="--mtime=@1500000000 --sort=name --owner=0 --group=0 --numeric-owner"
mkdir x && echo 1 >x/f && chmod 555 x && tar -cf a.tar x && chmod 755 x && rm -r x